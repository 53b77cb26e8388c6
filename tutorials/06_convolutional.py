"""Convolutional autoencoders: layers that use the neighbourhood of each pixel.

A dense layer works equally well on images with shuffled pixels. A convolution uses the neighbourhood of each pixel,
with the same few weights everywhere. This network has 28,353 parameters, and the dense network of tutorial 04 has
218,000. The code is 32 small images of 7 x 7. The code therefore keeps *where* a stroke is, and the reconstructions
should be sharp.

The network and the noise come from S. Valdarrama, "Convolutional autoencoder for image denoising" (Keras code examples,
2021).

    python tutorials/06_convolutional.py                 the embedded sample, about three minutes
    python tutorials/06_convolutional.py --data full     all 60,000 images, 50 epochs: about an hour on two cores
    python tutorials/06_convolutional.py --data full --resume    continue an interrupted run
"""

import numpy as np
from common import finish, load, settings, verdict

import scratchae as sa
from scratchae import data, nn, optim, plotting
from scratchae.autoencoders import ConvAutoencoder, DenoisingAutoencoder

BATCH_SIZE = 128
LR = 1e-3
NOISE = 0.4  # standard deviation
EPOCHS = {"quick": 8, "sample": 8, "full": 50}
FEW_EPOCHS = {"quick": 2, "sample": 8, "full": 3}
FASHION_EPOCHS = {"quick": 2, "sample": 20, "full": 5}
CODE_SIZE = 64

args = settings(__file__, __doc__, resumes=True)
run = "quick" if args.quick else args.data
train_images, _, test_images, test_digits = load(args.data, data.mnist, data.mnist_sample)
fashion_train, _, fashion_test, _ = load(args.data, data.fashion_mnist, data.fashion_mnist_sample)
if args.quick:
    train_images, fashion_train, test_images, fashion_test = (
        images[:2000] for images in (train_images, fashion_train, test_images, fashion_test)
    )


# 1. The encoder halves the image twice, and the decoder doubles the image twice. Padding 1 keeps the size under a 3 x 3
#    kernel. A transposed convolution with stride 2 is the gradient of a convolution with stride 2. The transposed
#    convolution therefore doubles the size that the convolution halves.
def build_encoder():
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),  # (N, 32, 14, 14)
        nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),  # (N, 32, 7, 7)
    )  # fmt: skip


def build_decoder():
    return nn.Sequential(
        nn.ConvTranspose2d(32, 32, 3, stride=2, padding=1, output_padding=1), nn.ReLU(),  # (N, 32, 14, 14)
        nn.ConvTranspose2d(32, 32, 3, stride=2, padding=1, output_padding=1), nn.ReLU(),  # (N, 32, 28, 28)
        nn.Conv2d(32, 1, 3, padding=1), nn.Sigmoid(),
    )  # fmt: skip


class FallingRate(sa.Callback):
    """Lower the learning rate to 0 along half a cosine, in the last fifth of the epochs."""

    def on_epoch_end(self, trainer, row):
        start, end = EPOCHS[run] * 4 // 5, EPOCHS[run]
        way = max(0, len(trainer.history["loss"]) - start) / (end - start)
        trainer.optimizer.lr = LR * (1 + np.cos(np.pi * way)) / 2


def train(model, name, images, held_out, epochs, callbacks=()):
    print(f"\n{name}: {model.count_parameters():,} parameters")
    trainer = sa.Trainer(model, optim.Adam(model.parameters(), lr=LR), callbacks)
    file = args.out / f"{run}-{name.split()[0].strip(',')}.safetensors"  # --resume continues from here
    return trainer.fit(images, validation=held_out, epochs=epochs, batch_size=BATCH_SIZE, checkpoint=file,
                       resume=args.resume)  # fmt: skip


sa.manual_seed(0)
plain = sa.Autoencoder(build_encoder(), build_decoder(), loss="bce")
plain.summary((1, 28, 28))
plain_history = train(plain, "plain", train_images, test_images, EPOCHS[run])

# 2. The same network gets a noisy image and must return the clean image. Each epoch draws new noise. The new noise
#    moves the weights in every epoch, until the steps become short. The learning rate therefore falls at the end.
sa.manual_seed(0)
denoising = DenoisingAutoencoder(build_encoder(), build_decoder(), loss="bce", corruption="gaussian", amount=NOISE)
denoising_history = train(denoising, f"denoising, noise {NOISE}", train_images, test_images, EPOCHS[run],
                          [FallingRate()])  # fmt: skip

# 3. The encoder and the decoder are ordinary modules. A sender of images needs the encoder, and a receiver needs the
#    decoder. We save both halves in separate files and load the files into new modules. The new modules should give the
#    same images.
plain.encoder.save_weights(args.out / "encoder.safetensors")
plain.decoder.save_weights(args.out / "decoder.safetensors")
sender, receiver = build_encoder(), build_decoder()
sender.load_weights(args.out / "encoder.safetensors")
receiver.load_weights(args.out / "decoder.safetensors")
shown = test_images[:10]
with sa.no_grad():
    received = receiver(sender(shown))
print(f"\nhalves saved and loaded apart: largest difference {np.abs(received - plain.reconstruct(shown)).max():.1g}")

# 4. ConvAutoencoder builds both halves in two other ways. The first way uses max-pooling and plain upsampling. The
#    second way uses strides in both directions.
few = {}
for down in ("pool", "stride"):
    sa.manual_seed(0)
    history = train(ConvAutoencoder((1, 32, 32), down), f"{down}-ConvAutoencoder", train_images, test_images,
                    FEW_EPOCHS[run])  # fmt: skip
    few[down] = history["val_loss"][-1]

# 5. We compare with the dense network of tutorial 04 on clothes, with equal code sizes. With `code_size`, a linear
#    layer turns the last small images into a flat code. Which network has the lower loss?
sa.manual_seed(0)
dense = sa.Autoencoder.dense((784, 128, CODE_SIZE))
dense_history = train(dense, "dense, Fashion-MNIST", fashion_train, fashion_test, FASHION_EPOCHS[run])
sa.manual_seed(0)
conv = ConvAutoencoder((1, 16, 32), code_size=CODE_SIZE)
conv_history = train(conv, "convolutional, Fashion-MNIST", fashion_train, fashion_test, FASHION_EPOCHS[run])

# 6. Draw the reconstructions, the filters, a code and the losses.
sa.manual_seed(1)
noisy = denoising.corrupt(shown)
plotting.image_rows(
    {"original": shown, "plain": plain.reconstruct(shown), "noisy": noisy, "denoised": denoising.reconstruct(noisy)},
    args.out / "reconstructions.png",
)
clothes = fashion_test[:10]
rows = {"original": clothes, "dense": dense.reconstruct(clothes), "convolutional": conv.reconstruct(clothes)}
plotting.image_rows(rows, args.out / "fashion.png")
plotting.filters(plain.encoder[0].weight.numpy(), args.out / "filters.png")
code = plain.transform(shown[:1])[0]
plotting.image_rows({"a code's 32": code[:16] / code.max(), "small images": code[16:] / code.max()},
                    args.out / "code.png", n=16)  # fmt: skip
plotting.loss_curves({"plain": plain_history["loss"], "val_plain": plain_history["val_loss"],
                      "denoising": denoising_history["loss"], "val_denoising": denoising_history["val_loss"]},
                     args.out / "loss.png", "MNIST, binary cross-entropy")  # fmt: skip

# 7. On a page of the denoising model, you can draw a digit, add noise, and see the model remove the noise.
sa.explore(denoising, args.out / "explorer.html", test_images, test_digits[: len(test_images)], "A denoising model")

print(f"\npictures and a page, explorer.html: {args.out}")
print(f"test loss after {FEW_EPOCHS[run]} epochs, transposed / upsampled / strided: "
      f"{plain_history['val_loss'][FEW_EPOCHS[run] - 1]:.4f} / {few['pool']:.4f} / {few['stride']:.4f}")  # fmt: skip
print(f"Fashion-MNIST, codes of {CODE_SIZE}: dense {dense_history['val_loss'][-1]:.4f} with "
      f"{dense.count_parameters():,} parameters, convolutional {conv_history['val_loss'][-1]:.4f} with "
      f"{conv.count_parameters():,}")  # fmt: skip

if run == "full":
    verdict("plain, test loss after 3 epochs", 0.0705, plain_history["val_loss"][2])
    verdict("denoising, test loss after 3 epochs", 0.0945, denoising_history["val_loss"][2])
    verdict("plain, test loss after 50 epochs", 0.0635, plain_history["val_loss"][49])
    verdict("denoising, test loss after 50 epochs", 0.0845, denoising_history["val_loss"][49])
else:
    verdict("plain, test loss", {"quick": 0.2, "sample": 0.1}[run], plain_history["val_loss"][-1])
    verdict("denoising, test loss", {"quick": 0.2, "sample": 0.12}[run], denoising_history["val_loss"][-1])
finish()
