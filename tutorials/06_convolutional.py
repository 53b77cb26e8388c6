"""What does a convolution gain over a dense layer?

A dense layer gives each output its own weight for each pixel. A dense layer does not know which pixels are neighbours.
A convolution computes each output from a small neighbourhood, with the same few weights everywhere. Let x be the input
with channels c, w the weights, s the stride and p the padding. The output y in channel o is

    y[o, a, b] = bias[o] + sum over c, i, j of  w[o, c, i, j] x[c, s a + i - p, s b + j - p]

    output size = floor((input size + 2 p - kernel size) / s) + 1

The weights of one channel are a kernel. A kernel of 3 x 3 with stride 1 and padding 1 keeps the size, because
28 + 2 - 3 + 1 = 28. Max-pooling keeps the largest of 2 x 2 values, and so halves the size. This tutorial has two
convolutional autoencoders:

           image                                                                     code
    (n, 1, 28, 28) --conv, pool--> (n, 32, 14, 14) --conv, pool--> (n, 32, 7, 7)                1,568 numbers
    (n, 1, 28, 28) --conv, s=2---> (n, 16, 14, 14) --conv, s=2---> (n, 32, 7, 7) --linear--> (n, 64)

The first network and its noise come from S. Valdarrama, "Convolutional autoencoder for image denoising" (Keras code
examples, 2021). Its code has twice as many numbers as the image, so the code is no bottleneck. The second network has a
flat code of 64 numbers. Only the second network can be compared with PCA and with dense autoencoders.

    python tutorials/06_convolutional.py                 the embedded sample, about 2 minutes
    python tutorials/06_convolutional.py --data full     all of MNIST, about 7 minutes of processor time
    python tutorials/06_convolutional.py --data full --resume    continue an interrupted run
"""

import time

import numpy as np
from common import finish, load, mse, pca, pca_reconstruct, settings, verdict

import scratchae as sa
from scratchae import data, nn, optim, plotting
from scratchae.autoencoders import ConvAutoencoder, DenoisingAutoencoder

CODE_SIZE = 64
BATCH_SIZE = {"quick": 64, "sample": 64, "full": 128}
LR = {"quick": 5e-3, "sample": 3e-3, "full": 1e-3}  # the rate is high where the steps are few
CODE_LR = 3e-3
NOISE = 0.4  # standard deviation
EPOCHS = {"quick": 1, "sample": 6, "full": 3}
CODE_BATCH = {"quick": 32, "sample": 32, "full": 64}
CODE_EPOCHS = {"quick": 6, "sample": 12, "full": 4}
MORE_EPOCHS = {"quick": 24, "sample": 48, "full": 18}  # the dense network in the time of the convolutional network
SHORT_EPOCHS = {"quick": 1, "sample": 3, "full": 1}
# test MSE of the convolutional network, as a share of another error
TARGET = {
    "PCA": {"quick": 0.9, "sample": 0.65, "full": 0.6},
    "dense, as much time": {"quick": 0.9, "sample": 0.85, "full": 1},
}

args = settings(__file__, __doc__, resumes=True)
run = "quick" if args.quick else args.data
digits = load(args.data, data.mnist, data.mnist_sample)


class Cosine(sa.Callback):
    """Lower the learning rate to 0 along half a cosine, epoch by epoch."""

    def __init__(self, epochs):
        self.epochs = epochs

    def on_epoch_end(self, trainer, row):
        way = len(trainer.history["loss"]) / self.epochs
        trainer.optimizer.lr = CODE_LR * max(1 + np.cos(np.pi * way), 0.01) / 2


def train(model, name, epochs, batch_size=BATCH_SIZE[run], lr=LR[run], callbacks=()):
    print(f"\n{name}: {model.count_parameters():,} parameters")
    trainer = sa.Trainer(model, optim.Adam(model.parameters(), lr=lr), callbacks)
    file = args.out / f"{run}-{name.replace(' ', '-').replace(',', '')}.safetensors"  # --resume continues from here
    start = time.process_time()
    trainer.fit(digits.train, validation=digits.validation, epochs=epochs, batch_size=batch_size, checkpoint=file,
                resume=args.resume)  # fmt: skip
    loss, error = trainer.evaluate(digits.test)["loss"], mse(digits.test, model.reconstruct(digits.test))
    print(f"test BCE {loss:.4f}, test MSE {error:.5f}, {time.process_time() - start:.0f} s of processor time")
    return loss, error


# 1. The first network. Its encoder halves the image twice, and its decoder doubles the image twice. A convolution with
#    stride 2 halves the size. A transposed convolution with stride 2 is its gradient, and doubles the size.
#
# Predict first: the second layer maps 32 channels to 32 channels, with a kernel of 3 x 3. How many weights has the
# layer? A dense layer between the same 6,272 numbers has 39 million weights. Choose (a) 9, or (b) 9,216, or (c) 1.8
# million.
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


sa.manual_seed(0)
wide = sa.Autoencoder(build_encoder(), build_decoder(), loss="bce")
wide.summary((1, 28, 28))
wide_loss, wide_error = train(wide, "code of 1568", EPOCHS[run])

# What you should see, and why: answer (b), because 3 * 3 * 32 * 32 = 9,216. The network has 28,353 parameters, an
# eighth of the 218,192 parameters of the dense network 784-128-64. Its code is not small: 32 * 7 * 7 = 1,568 numbers,
# twice the 784 pixels. A code of 1,568 numbers has room for a copy of the image. A low loss is therefore no sign of
# compression. The test BCE is 0.098 in the quick run, and 0.069 on all of MNIST.


# 2. The second network has a bottleneck. `ConvAutoencoder` builds both halves, and `code_size` adds a linear layer on
#    each side of the code. All networks here have a code of 64 numbers, as PCA with 64 components. The dense network
#    784-128-64 has 218,192 parameters. The convolutional network has 211,905, of which 202,336 are in the two linear
#    layers at the code. An epoch of the dense network takes less time. A second run therefore gives the dense network
#    about as much time as the convolutional network.
#
# Predict first: all codes have 64 numbers, and the dense network even gets as much time. Which test error is lowest?
# Choose (a) PCA's, or (b) the dense network's, or (c) the convolutional network's.
def train_code(model, name, epochs):
    return train(model, name, epochs, CODE_BATCH[run], CODE_LR, [Cosine(epochs)])[1]


mean, directions = pca(digits.train)
by_pca = pca_reconstruct(digits.test, mean, directions[:CODE_SIZE])
errors = {"PCA": mse(digits.test, by_pca)}
sa.manual_seed(0)
conv = ConvAutoencoder((1, 16, 32), "stride", code_size=CODE_SIZE)
errors["convolutional"] = train_code(conv, "convolutional, 64", CODE_EPOCHS[run])
for name, epochs in (("dense, as many epochs", CODE_EPOCHS[run]), ("dense, as much time", MORE_EPOCHS[run])):
    sa.manual_seed(0)
    dense = sa.Autoencoder.dense((784, 128, CODE_SIZE))
    errors[name] = train_code(dense, name, epochs)
print(f"\ncodes of {CODE_SIZE} numbers, test MSE and share of PCA's:")
for name, error in errors.items():
    print(f"{name:22} {error:.5f} {error / errors['PCA']:6.1%}")

# What you should see, and why: answer (c). In the quick run, the convolutional network has 78% of PCA's error. The
# dense network has 178% after as many epochs, and 96% after as much time. On all of MNIST, the three shares are 30%,
# 68% and 35%. There, the code of 64 numbers has a test MSE of 0.0027. The code of 1,568 numbers has 0.0029, after a
# training with other settings. A kernel is trained at all places of all images. A weight of the first dense layer sees
# one pixel only. The convolutional network therefore needs fewer images and fewer epochs. Each of its epochs costs more
# time.

# 3. The encoder and the decoder are ordinary modules. A sender of images needs the encoder, and a receiver needs the
#    decoder. We save both halves in separate files, and load the files into new modules.
#
# Predict first: do the new modules give the same images, bit by bit? Choose (a) yes, or (b) only nearly.
conv.encoder.save_weights(args.out / "encoder.safetensors")
conv.decoder.save_weights(args.out / "decoder.safetensors")
fresh = ConvAutoencoder((1, 16, 32), "stride", code_size=CODE_SIZE)
sender, receiver = fresh.encoder, fresh.decoder
sender.load_weights(args.out / "encoder.safetensors")
receiver.load_weights(args.out / "decoder.safetensors")
shown = digits.test[:10]
with sa.no_grad():
    received = receiver(sender(shown)).numpy()
difference = float(np.abs(received - conv.reconstruct(shown)).max())
print(f"\nhalves saved and loaded apart: largest difference {difference:.1g}")

# What you should see, and why: answer (a). The difference is 0 in all runs, because the files hold all bits of the
# weights.

# 4. There are two usual ways to halve and double a size. With `down="pool"`, max-pooling halves the size, and
#    upsampling repeats each pixel. With `down="stride"`, convolutions with stride 2 halve the size, and transposed
#    convolutions double the size. A transposed convolution adds a copy of its kernel at every second pixel. With a
#    kernel of 3, neighbouring copies overlap by one pixel, so some output pixels get more terms than others. The result
#    can be a checkerboard. A kernel of 4 or upsampling has no uneven overlap.
#
# Predict first: which way is faster? Choose (a) pooling, or (b) strides, or (c) equal.
for down in ("pool", "stride"):
    sa.manual_seed(0)
    train(ConvAutoencoder((1, 32, 32), down), f"halved by {down}", SHORT_EPOCHS[run])

# What you should see, and why: answer (b). A convolution with stride 2 computes a quarter of the outputs. Pooling
# computes all outputs and drops three of four. In the quick run, pooling takes 3 s of processor time, and strides
# take 1 s. On all of MNIST, the times are 36 s and 10 s. Strides also have the lower test BCE after one epoch: 0.076
# against 0.113 in the quick run, and 0.066 against 0.080 on all of MNIST.

# 5. Denoising, with the first network. Its wide code may copy, but a copy of a noisy image is noisy (tutorial 05).
#
# Predict first: the clean images gave the test BCE of block 1. What is the loss from noisy images, with a standard
# deviation of 0.4? Choose (a) the same, or (b) up to twice as high, or (c) more than three times as high.
sa.manual_seed(0)
denoising = DenoisingAutoencoder(build_encoder(), build_decoder(), loss="bce", corruption="gaussian", amount=NOISE)
noisy_loss, _ = train(denoising, "denoising", EPOCHS[run])

# What you should see, and why: answer (b). The test BCE is 0.132 in the quick run, against 0.098 from clean images. On
# all of MNIST, the two losses are 0.094 and 0.069. The noise hides a part of the image, and the network can only
# estimate the hidden part.

# 6. The picture shows test digits and the results of all networks and of PCA. Other pictures show the denoised digits
#    and the 32 kernels of the first layer. On a page of the denoising model, you can draw a digit and add noise.
sa.manual_seed(1)
noisy = denoising.corrupt(shown)
rows = {"original": shown, "PCA, 64 numbers": by_pca[:10], "dense, 64": dense.reconstruct(shown),
        "convolutional, 64": conv.reconstruct(shown), "convolutional, 1,568": wide.reconstruct(shown)}  # fmt: skip
plotting.image_rows(rows, args.out / "answer.png")
plotting.image_rows({"noisy": noisy, "denoised": denoising.reconstruct(noisy)}, args.out / "denoised.png")
plotting.filters(wide.encoder[0].weight.numpy(), args.out / "filters.png")
sa.explore(denoising, args.out / "explorer.html", digits.test, digits.test_labels, "A denoising model")
print(f"\npictures and a page to draw on, explorer.html: {args.out}")

verdict("code of 1,568: test BCE", {"quick": 0.2, "sample": 0.1, "full": 0.0705}[run], wide_loss)
verdict("denoising: test BCE", {"quick": 0.25, "sample": 0.12, "full": 0.0945}[run], noisy_loss)
for name, targets in TARGET.items():
    verdict(f"codes of 64, test MSE: convolutional over {name}", targets[run], errors["convolutional"] / errors[name])
finish()

# Exercises. The solutions are in tutorials/solutions/06_convolutional.py.
#
# Change a constant: give the layer of block 1 with 32 to 32 channels a kernel of 5 x 5. How many parameters has the
# layer now, and which padding keeps the size? Check the formula of the output size for other strides, too.
#
# Explain a number: set all weights of `ConvTranspose2d(1, 1, 3, stride=2, padding=1, output_padding=1)` to 1, and its
# bias to 0. Give the layer an image of ones. The output has the values 1, 2 and 4. Where do they come from? What
# changes with a kernel of 4?
#
# Write code: move the pixels of all images by one random permutation. Train a dense and a convolutional network on
# these images. Which error stays, and which error rises?
