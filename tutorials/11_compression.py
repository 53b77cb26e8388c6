"""Which codec keeps more of a digit in 8 to 64 bytes: a neural network or PCA?

A codec has two halves with a file between them. The sender has the encoder, and the receiver has the decoder. We train
an autoencoder, and save its two halves in separate files. Each number of its latent code is rounded to a few levels.

       image            code             levels             bytes
    x (n, 784) ----> z (n, k) ----> l (n, k) ----> file (n, bytes)          the sender
            encoder         round           pack

         bytes              levels            code             reconstruction
    file (n, bytes) ----> l (n, k) ----> z (n, k) ----> x' (n, 784)         the receiver
                  unpack          look up       decoder

The rate is the number of bytes per image. The distortion is the mean squared error (MSE) of the decoded images. Every
lossy codec trades rate for distortion (Shannon 1959). With an equal number of numbers, PCA is the best linear code of
the training images. With an equal number of bytes, the rounding counts too. The baseline is therefore PCA with
well-shared bits (`pca_codec.py`). No file here is entropy-coded, so each image costs the same number of bytes.

    python tutorials/11_compression.py                 the embedded sample
    python tutorials/11_compression.py --data full     all of MNIST, five minutes
"""

import io

import numpy as np
from common import finish, load, mse, settings, verdict
from pca_codec import MAX_BITS, PCACodec, pack, unpack
from PIL import Image

import scratchae as sa
from scratchae import data, nn, optim, plotting
from scratchae import functional as F

RATES = {"quick": (8, 32), "sample": (8, 16, 32, 64), "full": (8, 16, 32, 64)}  # bytes per image
COMPARED = 32  # the rate of the comparisons and of the pictures of digits
COMPONENTS = {"quick": 140, "sample": 256, "full": 256}  # of PCA that may get bits
ENCODER_HIDDEN, DECODER_HIDDEN = 256, 512
DECODER_EPOCHS = {"quick": 4, "sample": 8, "full": 5}
BOTH_EPOCHS = {"quick": 2, "sample": 4, "full": 4}
BATCH_SIZE = {"quick": 64, "sample": 64, "full": 128}
LR = {"quick": 1e-3, "sample": 1e-3, "full": 2e-3}  # of the decoder alone
BOTH_LR = 1e-4
QUALITIES = (1, 5, 10, 20, 40, 70, 90)  # of JPEG
COLUMNS = 50  # of the sheet with all images

args = settings(__file__, __doc__)
run = "quick" if args.quick else args.data
digits = load(args.data, data.mnist, data.mnist_sample)
n = len(digits.test)


def psnr(error):
    """Peak signal-to-noise ratio in decibels, for pixels in [0, 1]. 10 dB more is a tenth of the squared error."""
    return -10 * np.log10(error)


# 1. PCA gives numbers, and a file needs rounded numbers. We round in four ways, with equal bytes per image.
#
#    The first way spends 8 bits on each number. 32 bytes are then 32 numbers. The second way spends fewer bits on each
#    of more numbers. The validation images choose 1 to 8 bits. The third way gives each number its own bits. One bit
#    more halves the distance between the levels, and the error of a number falls to about a quarter. A bit is therefore
#    worth most where the variance is large. The fourth way also multiplies all numbers by a contrast. A higher contrast
#    helps because the decoder clips pixels to [0, 1]. The validation images choose the contrast too.
#
# Predict first: 32 bytes are 256 bits. How far does the error fall from the first way to the fourth? Choose (a) by 5%,
# or (b) by about a third, or (c) to less than half.
codec = PCACodec(digits.train, COMPONENTS[run])
by_pca, widths = {}, {}


def pca_images(images, widths, contrast=1.0):
    return codec.decode(codec.encode(images, widths), widths, contrast)


print(f"PCA, test MSE\n{'bytes':>5} {'8 bits each':>12} {'equal bits':>18} {'own bits':>24} {'and contrast':>20}")
for rate in RATES[run]:
    equal = [np.full(8 * rate // b, b) for b in range(1, MAX_BITS + 1) if 8 * rate // b <= COMPONENTS[run]]
    best = min(equal, key=lambda w: mse(digits.validation, pca_images(digits.validation, w)))
    own = widths[rate] = codec.share_out(8 * rate)
    contrast = codec.best_contrast(digits.validation, own)
    by_pca[rate] = pca_images(digits.test, own, contrast)
    eight_bits, equal_bits, own_bits = (mse(digits.test, pca_images(digits.test, w)) for w in (equal[-1], best, own))
    print(f"{rate:5} {eight_bits:12.5f} {equal_bits:9.5f} ({len(best):3} x {best[0]}) {own_bits:9.5f} ({len(own):3} of "
          f"{own.min()} to {own.max()}) {mse(digits.test, by_pca[rate]):11.5f} (x {contrast:.2f})")  # fmt: skip

# What you should see, and why: answer (c). On all of MNIST, the error falls from 0.0152 to 0.0073, 0.0060 and 0.0048.
# The sample and the quick run give 0.0154, 0.0075, 0.0061 and 0.0050. 8 bits are too fine for each number, and only 32
# of 784 directions are used. Well-shared bits reach 124 directions.


# 2. The autoencoder starts as the PCA codec. Both halves are the sum of a linear layer and a small network. The linear
#    layers start as PCA's directions, divided and multiplied by the standard deviations. The small networks start at 0.
#
#        encoder: z  = W x + c + M relu(N x + d)                       784 -> 256 -> k beside 784 -> k
#        decoder: x' = sigmoid(W' z + c' + M' relu(N' z + d'))         k -> 512 -> 784 beside k -> 784
class Sum(nn.Module):
    """linear(x) + network(x). It starts with the given weight and bias of `linear`, and with network(x) = 0."""

    def __init__(self, size_in, hidden, size_out, weight=None, bias=None):
        self.linear = nn.Linear(size_in, size_out)
        self.network = nn.Sequential(nn.Linear(size_in, hidden), nn.ReLU(), nn.Linear(hidden, size_out))
        if weight is not None:
            self.linear.load_state_dict({"weight": weight.astype(np.float32), "bias": bias.astype(np.float32)})
            nn.init.zeros_(self.network[2].weight)
            nn.init.zeros_(self.network[2].bias)

    def forward(self, x):
        return self.linear(x) + self.network(x)


class RoundedAutoencoder(sa.Autoencoder):
    """`tables` holds the levels of each number of the code. `rounding` says what the training does in their place."""

    def __init__(self, encoder, decoder, loss="mse", *, tables, rounding="straight-through"):
        super().__init__(encoder, decoder, loss)
        self.tables, self.rounding = tables, rounding

    def levels(self, codes):
        columns = zip(codes.T, self.tables, strict=True)
        return np.stack([np.searchsorted((t[1:] + t[:-1]) / 2, z) for z, t in columns], axis=1)

    def look_up(self, levels):
        return np.stack([t[level] for level, t in zip(levels.T, self.tables, strict=True)], axis=1)

    def loss_terms(self, x, target=None):
        z = self.encoder(x)
        values = z.detach().numpy()
        change = self.look_up(self.levels(values)) - values
        if self.rounding == "noise":  # as large as the rounding error, but independent of z
            change = np.sqrt(12 * (change**2).mean(axis=0)) * (sa.generator().random(z.shape, np.float32) - 0.5)
        return {"reconstruction": self.distance(self.decoder(z if self.rounding == "none" else z + change), x, target)}


# 3. The first training changes only the decoder. The sender still writes PCA's file, byte for byte. The decoder gets
#    the rounded numbers of the training images, and learns to return the images.
#
# Predict first: the bytes are the same as PCA's. Can another decoder lower the error? Choose (a) no, because PCA's
# decoder is the best for PCA's numbers, or (b) by about 5%, or (c) by 20% or more.
def start(widths, rounding="straight-through"):
    """The PCA codec with these bits as an autoencoder. A number of its code has a variance of 1."""
    sa.manual_seed(0)
    spread, used = np.sqrt(codec.errors[: len(widths), 0])[:, None], codec.directions[: len(widths)]
    contrast = codec.best_contrast(digits.validation, widths)
    encoder = Sum(784, ENCODER_HIDDEN, len(used), used / spread, -(used / spread) @ codec.mean)
    decoder = Sum(len(used), DECODER_HIDDEN, 784, 6 * contrast * (used * spread).T, 6 * (codec.mean - 0.5))
    halves = nn.Sequential(nn.Flatten(), encoder), nn.Sequential(decoder, nn.Sigmoid())
    tables = [(codec.values[i][b] / spread[i]).astype(np.float32) for i, b in enumerate(widths)]
    return RoundedAutoencoder(*halves, tables=tables, rounding=rounding)


def fit(model, images, epochs, lr, loss=None):
    optimizer = optim.Adam(model.parameters(), lr=lr)
    trainer = sa.Trainer(model, optimizer, [sa.Schedule(optim.CosineLR(optimizer, epochs))], loss=loss)
    trainer.fit(images, epochs=epochs, batch_size=BATCH_SIZE[run], progress=False)


def train_decoder(model):
    """Images of the training set are the targets of their rounded codes."""
    codes = model.look_up(model.levels(model.transform(digits.train)))
    fit(model.decoder, (codes, digits.train.reshape(len(codes), -1)), DECODER_EPOCHS[run], LR[run], F.mse_loss)
    return model


def decoded(model, images):
    return model.inverse_transform(model.look_up(model.levels(model.transform(images)))).reshape(images.shape)


models = {rate: train_decoder(start(widths[rate])) for rate in RATES[run]}
print(f"\nlearned decoder, test MSE\n{'bytes':>5} {'best PCA':>9} {'learned':>9} {'ratio':>6}")
for rate, model in models.items():
    baseline, learned = mse(digits.test, by_pca[rate]), mse(digits.test, decoded(model, digits.test))
    print(f"{rate:5} {baseline:9.5f} {learned:9.5f} {learned / baseline:6.3f}")
print(f"{COMPARED} bytes in other ways, MSE of the validation images")
for bits in (8, 4, 2):
    model = train_decoder(start(np.full(8 * COMPARED // bits, bits)))
    print(f"{8 * COMPARED // bits:9} x {bits} bits {mse(digits.validation, decoded(model, digits.validation)):.5f}")
own_error = mse(digits.validation, decoded(models[COMPARED], digits.validation))
print(f"{len(widths[COMPARED]):9}, own bits {own_error:.5f}")

# What you should see, and why: answer (c) on all of MNIST. There, the ratio is 0.67, 0.64, 0.62 and 0.67 at 8, 16, 32
# and 64 bytes. In the quick run, the ratio is 0.84 at 8 bytes and 0.71 at 32 bytes. PCA's numbers are uncorrelated, but
# not independent. The network uses all numbers together. In this way, the network can correct a part of the rounding
# error, and guess a part of the directions without bits. Own bits are the best way for the network too. On all of
# MNIST, 32 bytes leave 0.0031 with own bits, and 0.0035 with 64 numbers of 4 bits (validation images).


# 4. The second training changes both halves. Rounding has a derivative of 0 almost everywhere, so no gradient would
#    reach the encoder. Training can replace rounding in three ways.
#
#        none                 z                              nothing is rounded before the test
#        noise                z + u                          u uniform, with the variance of the rounding error
#        straight-through     z + sg(round(z) - z)           sg: a constant for the derivative, so dz'/dz = 1
#
# Predict first: which training is best after real rounding? Choose (a) none, because its gradient is exact, or (b)
# noise, or (c) straight-through.
def train_both(rounding):
    model = start(widths[COMPARED], rounding)
    model.load_state_dict(models[COMPARED].state_dict())
    fit(model, digits.train, BOTH_EPOCHS[run], BOTH_LR)
    return model


trained = {rounding: train_both(rounding) for rounding in ("none", "noise", "straight-through")}
trained["decoder only"] = models[COMPARED]
found = {name: mse(digits.validation, decoded(model, digits.validation)) for name, model in trained.items()}
print(f"\n{COMPARED} bytes, MSE of the validation images:", *(f"{name} {error:.5f} " for name, error in found.items()))
models[COMPARED] = trained[min(found, key=found.get)]

# What you should see, and why: answer (c), but the gain is small. On all of MNIST, the MSE of the validation images is
# 0.0032 with none, 0.0033 with noise and 0.0031 with straight-through. The decoder alone has 0.0031 too, so the encoder
# stays PCA's. In the quick run, straight-through is 0.5% better than the decoder alone. With a learning rate of 1e-3 in
# place of 1e-4, both halves end at 0.0049 on all of MNIST. Large steps may change PCA's directions faster than the
# network finds better directions.


# 5. Sender and receiver stand for two machines. The weights of each half and the tables of levels travel once, in files
#    of their own. Each machine builds a model, reads one half, and never uses the other half. Then only the files of
#    codes travel. At 32 bytes, we send with the training that is best on the validation images.
def save(model, rate):
    model.encoder.save_weights(args.out / f"encoder_{rate}.safetensors")
    model.decoder.save_weights(args.out / f"decoder_{rate}.safetensors")
    np.savez(args.out / f"tables_{rate}.npz", widths=widths[rate], tables=np.concatenate(model.tables))


def build(rate):
    file = np.load(args.out / f"tables_{rate}.npz")
    bits, size = file["widths"], len(file["widths"])
    encoder = nn.Sequential(nn.Flatten(), Sum(784, ENCODER_HIDDEN, size))
    decoder = nn.Sequential(Sum(size, DECODER_HIDDEN, 784), nn.Sigmoid())
    tables = np.split(file["tables"], np.cumsum(2**bits)[:-1])
    return RoundedAutoencoder(encoder, decoder, tables=tables), bits


def send(images, rate, path):
    sender, bits = build(rate)
    sender.encoder.load_weights(args.out / f"encoder_{rate}.safetensors")
    pack(sender.levels(sender.transform(images)), bits).tofile(path)


def receive(rate, path):
    receiver, bits = build(rate)
    receiver.decoder.load_weights(args.out / f"decoder_{rate}.safetensors")
    packed = np.fromfile(path, np.uint8).reshape(-1, -(-bits.sum() // 8))
    return receiver.inverse_transform(receiver.look_up(unpack(packed, bits))).reshape(-1, 1, 28, 28)


received, ratios = {}, {}
print(f"\n{n:,} test images through files\n{'bytes':>5} {'best PCA':>9} {'network':>9} {'ratio':>6} {'PCA dB':>7} "
      f"{'dB':>6} {'decoder':>8}")  # fmt: skip
for rate in RATES[run]:
    save(models[rate], rate)
    path = args.out / f"codes_{rate}.bin"
    send(digits.test, rate, path)
    received[rate] = receive(rate, path)
    baseline, error = mse(digits.test, by_pca[rate]), mse(digits.test, received[rate])
    ratios[rate] = error / baseline
    megabytes = (args.out / f"decoder_{rate}.safetensors").stat().st_size / 1e6
    print(f"{path.stat().st_size / n:5.2f} {baseline:9.5f} {error:9.5f} {ratios[rate]:6.3f} {psnr(baseline):7.2f} "
          f"{psnr(error):6.2f} {megabytes:5.2f} MB")  # fmt: skip

# What you should see, and why: the file has exactly 8, 16, 32 or 64 bytes per image, and the receiver returns the same
# images as in parts 3 and 4. On all of MNIST, the network is 1.7 to 2.1 dB above PCA. The rate does not count the
# decoder. At 32 bytes, the decoder's file has 2.3 MB. Sent once for 10,000 images, these are 226 bytes per image. PCA's
# decoder has a sixth of this size. A learned codec pays only for many images of the same kind.


# 6. PNG and JPEG use no knowledge of digits, and need no model. A file per image pays for headers and tables. At low
#    quality, headers and tables cost more than the image. On one large sheet, all test images share these bytes.
#
# Predict first: how many bytes does JPEG on the sheet need for the quality of our 32 bytes? Choose (a) about 30, or (b)
# about 60, or (c) more than 80.
def compressed(pixels, **options):
    """(bytes, decoded pixels) of one grey image."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, optimize=True, **options)
    return file.tell(), np.asarray(Image.open(file))


pixels = np.rint(digits.test[:, 0] * 255).astype(np.uint8)
# JPEG works on blocks of 8 x 8. Margins of 2 make images of 32 x 32, so no block belongs to two images.
tiles = np.pad(pixels, ((0, -n % COLUMNS), (2, 2), (2, 2))).reshape(-1, COLUMNS, 32, 32)
sheet = np.ascontiguousarray(tiles.transpose(0, 2, 1, 3).reshape(-1, COLUMNS * 32))


def on_sheet(**options):
    size, decoded = compressed(sheet, **options)
    images = decoded.reshape(-1, 32, COLUMNS, 32).transpose(0, 2, 1, 3).reshape(-1, 1, 32, 32)
    return size / n, images[:n, :, 2:-2, 2:-2] / np.float32(255)


png, png_sheet = np.mean([compressed(image, format="PNG")[0] for image in pixels]), on_sheet(format="PNG")[0]
print(f"\nPNG, without loss: {png_sheet:.0f} bytes an image on one sheet, {png:.0f} each by itself")
jpeg = {quality: on_sheet(format="JPEG", quality=quality) for quality in QUALITIES}
alone = np.mean([compressed(image, format="JPEG", quality=1)[0] for image in pixels])
print(f"JPEG: at least {alone:.0f} bytes for an image by itself; all images on one sheet:")
for quality, (size, images) in jpeg.items():
    print(f"quality {quality:2}: {size:6.1f} bytes an image, {psnr(mse(digits.test, images)):5.2f} dB")
jpeg_rates, jpeg_db = zip(*((size, psnr(mse(digits.test, images))) for size, images in jpeg.values()), strict=True)
needed = np.interp(psnr(mse(digits.test, received[COMPARED])), jpeg_db, jpeg_rates)
print(f"JPEG needs {needed:.0f} bytes for the quality of the network's {COMPARED} bytes")

# What you should see, and why: answer (c). JPEG needs 100 bytes on all of MNIST, and 90 bytes in the quick run. JPEG
# must work for all images. The network and PCA have seen 55,000 digits (4,500 in the quick run). PNG loses nothing, and
# needs 167 bytes.

# 7. The first picture answers the question. A higher curve is better. The second picture shows ten test digits.
rates = RATES[run]
plotting.curves(
    {
        "network": (rates, [psnr(mse(digits.test, received[rate])) for rate in rates]),
        "best PCA codec": (rates, [psnr(mse(digits.test, by_pca[rate])) for rate in rates]),
        "JPEG, one sheet": (jpeg_rates, jpeg_db),
    },
    args.out / "answer.png",
    "bytes per image (the model is not counted)",
    "PSNR of the test images (dB)",
    xlog=True,
)
nearest = min(QUALITIES, key=lambda quality: abs(jpeg[quality][0] - COMPARED))
shown = {"original, 784 bytes": digits.test, f"network, {COMPARED}": received[COMPARED]}
shown |= {f"best PCA, {COMPARED}": by_pca[COMPARED], f"JPEG, {jpeg[nearest][0]:.0f}": jpeg[nearest][1]}
plotting.image_rows(shown, args.out / "reconstructions.png")
print(f"pictures: {args.out / 'answer.png'}, {args.out / 'reconstructions.png'}")
target = {"quick": 0.9, "sample": 0.9, "full": 0.75}[run]
verdict("MSE / MSE of the best PCA codec, the largest at 8 to 32 bytes", target,
        max(ratio for rate, ratio in ratios.items() if rate <= 32))  # fmt: skip
finish()

# Exercises. The solutions are in tutorials/solutions/11_compression.py.
#
# Change a constant: set MAX_BITS in pca_codec.py to 2. Which rate of PCA becomes much worse, 8 or 64 bytes? Why?
#
# Explain a number: the contrast of the sample is 1.26 at 32 bytes, and the MSE falls from 0.0061 to 0.0050. Before
# clipping, a contrast of 1 has the lowest error. Why does the order change?
#
# Write code: entropy-code the 256 bits of PCA's file. Count each level in the training images. A level with the share
# p costs -log2(p) bits. How many bits remain? Does the answer change if all levels have equal distances
# (`PCACodec.entropy_coded`)?
