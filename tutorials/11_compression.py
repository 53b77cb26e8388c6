"""Compression: the encoder here, the decoder there, and only a file of bytes between them.

After training, we save the two halves of the autoencoder in separate files. The sender has the encoder, and the
receiver has the decoder. Each number of the code is rounded to 8 bits. An image then costs one byte per unit of the
code. Every lossy compression has a trade-off between rate and distortion (C. Shannon 1959; with learned codes: L. Theis
et al. 2017). The baseline is PCA, the best linear encoder and decoder. We also compare with PNG and JPEG.

    python tutorials/11_compression.py                 the embedded sample, a minute or two
    python tutorials/11_compression.py --data full     all 60,000 images, five to ten minutes
"""

import io

import numpy as np
from common import finish, load, pca, settings, verdict
from PIL import Image
from safetensors.numpy import load_file, save_file

import scratchae as sa
from scratchae import data, optim, plotting

# With 64 units, this autoencoder needs more than the 5,000 images of the sample. From 5,000 images, PCA learns a better
# code.
CODE_SIZES = {"quick": (8, 32), "sample": (8, 16, 32), "full": (8, 16, 32, 64)}
HIDDEN = {"quick": (256,), "sample": (512, 256), "full": (512, 256)}
EPOCHS = {"quick": 15, "sample": 25, "full": 8}
BATCH_SIZE = {"quick": 32, "sample": 32, "full": 128}
LR = {"quick": 1e-3, "sample": 1e-3, "full": 2e-3}
QUALITIES = (1, 5, 10, 20, 40, 70, 90)  # of JPEG
COLUMNS = 50  # of the sheet with all images
SHOWN = 32  # the code size in the picture
TARGET = {"quick": 0.9, "sample": 0.9, "full": 0.9}  # MSE / PCA's MSE at equal bytes, the largest over code sizes

args = settings(__file__, __doc__)
run = "quick" if args.quick else args.data
train_images, _, test_images, _ = load(args.data, data.mnist, data.mnist_sample)
n = len(test_images)


# 1. A few numbers are enough to build both halves anywhere. The weights travel in files of their own.
def build(code_size):
    return sa.Autoencoder.dense((784, *HIDDEN[run], code_size), activation="relu", output="sigmoid", loss="mse")


def train(code_size):
    """Train a model, and save the weights of each half in a file."""
    sa.manual_seed(0)
    model = build(code_size)
    optimizer = optim.Adam(model.parameters(), lr=LR[run])
    trainer = sa.Trainer(model, optimizer, [sa.Schedule(optim.CosineLR(optimizer, EPOCHS[run]))])
    history = trainer.fit(train_images, epochs=EPOCHS[run], batch_size=BATCH_SIZE[run], progress=False)
    model.encoder.save_weights(args.out / f"encoder_{code_size}.safetensors")
    model.decoder.save_weights(args.out / f"decoder_{code_size}.safetensors")
    print(f"code size {code_size}: trained in {sum(history['seconds']):.0f} s, training MSE {history['loss'][-1]:.5f}")


# 2. Codes as bytes. We divide the range of each unit into 255 steps. The file also stores the ranges, with 8 bytes per
#    unit for all images.
def write_codes(codes, path):
    low, high = codes.min(axis=0), codes.max(axis=0)
    step = np.maximum((high - low) / 255, np.float32(1e-12))  # a unit that never changes has a range of 0
    save_file({"low": low, "step": step, "codes": np.rint((codes - low) / step).astype(np.uint8)}, path)


def read_codes(path):
    file = load_file(path)
    return file["low"] + file["step"] * file["codes"]


# 3. Sender and receiver stand for two machines. Each machine builds a model, reads the weights of one half, and never
#    uses the other half.
def send(images, code_size, path):
    sender = build(code_size)
    sender.encoder.load_weights(args.out / f"encoder_{code_size}.safetensors")
    write_codes(sender.transform(images), path)


def receive(code_size, path):
    receiver = build(code_size)
    receiver.decoder.load_weights(args.out / f"decoder_{code_size}.safetensors")
    return receiver.inverse_transform(read_codes(path)).reshape(-1, 1, 28, 28)


def mse(images):
    return float(np.mean((images - test_images) ** 2))


def psnr(error):
    """Peak signal-to-noise ratio in decibels, for pixels in [0, 1]. 10 dB more is a tenth of the squared error."""
    return -10 * np.log10(error)


mean, directions = pca(train_images)
ours, theirs, rows = {}, {}, {}
for size in CODE_SIZES[run]:
    train(size)
    path = args.out / f"codes_{size}.safetensors"
    send(test_images, size, path)
    ours[size] = receive(size, path)

    # PCA's codes also go through a file, with the same rounding.
    pca_path = args.out / f"pca_codes_{size}.safetensors"
    write_codes(((test_images.reshape(n, -1) - mean) @ directions[:size].T).astype(np.float32), pca_path)
    theirs[size] = (mean + read_codes(pca_path) @ directions[:size]).clip(0, 1).reshape(test_images.shape)
    decoder_bytes = (args.out / f"decoder_{size}.safetensors").stat().st_size
    rows[size] = path.stat().st_size / n, mse(ours[size]), mse(theirs[size]), decoder_bytes

# 4. The rate counts the file of the codes, and not the decoder. The decoder is sent only once. Over n images, a decoder
#    of n bytes costs one byte per image. The last column divides the decoder's bytes by the number of images here.
#    PCA's receiver also needs weights, (code size + 1) * 784 numbers.
print(f"\n{n:,} test images. Bytes are the size of the codes' file over the number of images")
print(f"{'code':>4} {'bytes/image':>12} {'MSE':>9} {'PCA MSE':>9} {'ratio':>6} {'dB':>6} {'PCA dB':>7}", end="")
print(f" {'decoder MB':>11} {'PCA MB':>7} {'decoder/image here':>19}")
for size, (rate, error, pca_error, weights) in rows.items():
    print(f"{size:4} {rate:12.2f} {error:9.5f} {pca_error:9.5f} {error / pca_error:6.3f} {psnr(error):6.2f}", end="")
    print(f" {psnr(pca_error):7.2f} {weights / 1e6:11.2f} {(size + 1) * 784 * 4 / 1e6:7.2f} {weights / n:17.0f} B")


# 5. PNG and JPEG use no knowledge of digits, and need no model. A separate file per image pays for headers and tables.
#    For JPEG at low quality, headers and tables cost more than the image itself. On one large sheet, all test images
#    share these bytes.
def compressed(pixels, **options):
    """(bytes, decoded pixels) of one grey image."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, optimize=True, **options)
    return file.tell(), np.asarray(Image.open(file))


pixels = np.rint(test_images[:, 0] * 255).astype(np.uint8)
# JPEG works on blocks of 8 x 8. Margins of 2 make images of 32 x 32, so no block belongs to two images.
tiles = np.pad(pixels, ((0, -n % COLUMNS), (2, 2), (2, 2))).reshape(-1, COLUMNS, 32, 32)
sheet = np.ascontiguousarray(tiles.transpose(0, 2, 1, 3).reshape(-1, COLUMNS * 32))


def on_sheet(**options):
    size, decoded = compressed(sheet, **options)
    images = decoded.reshape(-1, 32, COLUMNS, 32).transpose(0, 2, 1, 3).reshape(-1, 1, 32, 32)
    return size / n, images[:n, :, 2:-2, 2:-2] / np.float32(255)


def one_by_one(**options):
    sizes, decoded = zip(*(compressed(image, **options) for image in pixels), strict=True)
    return np.mean(sizes), np.stack(decoded)[:, None] / np.float32(255)


png, png_sheet = one_by_one(format="PNG")[0], on_sheet(format="PNG")[0]
print(f"\nPNG, without loss: {png_sheet:.0f} bytes an image on one sheet, {png:.0f} each by itself")
print("JPEG of all images on one sheet, and of each by itself:")
print("quality  bytes/image     dB    bytes/image     dB")
jpeg = {quality: on_sheet(format="JPEG", quality=quality) for quality in QUALITIES}
alone = {quality: one_by_one(format="JPEG", quality=quality) for quality in QUALITIES}
for quality in QUALITIES:
    (rate, images), (rate_alone, images_alone) = jpeg[quality], alone[quality]
    print(f"{quality:7} {rate:12.1f} {psnr(mse(images)):6.2f} {rate_alone:14.1f} {psnr(mse(images_alone)):6.2f}")

# 6. Draw the curves, and ten digits at about the same number of bytes.
rates = [row[0] for row in rows.values()]
plotting.curves(
    {
        "autoencoder": (rates, [psnr(row[1]) for row in rows.values()]),
        "PCA": (rates, [psnr(row[2]) for row in rows.values()]),
        "JPEG, one sheet": ([r for r, _ in jpeg.values()], [psnr(mse(x)) for _, x in jpeg.values()]),
        "JPEG, one by one": ([r for r, _ in alone.values()], [psnr(mse(x)) for _, x in alone.values()]),
    },
    args.out / "rate_distortion.png",
    "bytes per image (model not counted)",
    "PSNR on test images (dB)",
    xlog=True,
)
nearest = min(QUALITIES, key=lambda quality: abs(jpeg[quality][0] - rows[SHOWN][0]))
shown = {"original, 784 bytes": test_images, f"autoencoder, {rows[SHOWN][0]:.0f}": ours[SHOWN]}
shown |= {f"PCA, {rows[SHOWN][0]:.0f}": theirs[SHOWN], f"JPEG, {jpeg[nearest][0]:.0f}": jpeg[nearest][1]}
plotting.image_rows(shown, args.out / "reconstructions.png")
print(f"pictures: {args.out / 'rate_distortion.png'}, {args.out / 'reconstructions.png'}")

verdict("largest MSE / PCA MSE at equal bytes", TARGET[run], max(row[1] / row[2] for row in rows.values()))
finish()
