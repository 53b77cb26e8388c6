"""Solutions of tutorial 06, on the embedded sample.

python tutorials/solutions/06_convolutional.py
"""

import sys
from pathlib import Path

import numpy as np

import scratchae as sa
from scratchae import data, nn, optim
from scratchae.autoencoders import ConvAutoencoder

sys.path.append(str(Path(__file__).parents[1]))
from common import load

digits = load("sample", data.mnist, data.mnist_sample)

print("Change a constant")
# A kernel of 5 x 5 has 25 weights for each pair of channels. Padding 2 keeps the size: (28 + 2 * 2 - 5) / 1 + 1 = 28.
small, large = nn.Conv2d(32, 32, 3, padding=1), nn.Conv2d(32, 32, 5, padding=2)
print(f"parameters of 32 to 32 channels: 3 x 3 {small.count_parameters():,}, 5 x 5 {large.count_parameters():,}")
assert small.count_parameters() == 32 * 32 * 9 + 32
assert large.count_parameters() == 32 * 32 * 25 + 32
assert large(np.zeros((1, 32, 28, 28), np.float32)).shape == (1, 32, 28, 28)
for size, kernel, stride, padding in ((28, 3, 2, 1), (28, 4, 2, 1), (28, 5, 1, 0), (7, 3, 2, 0)):
    expected = (size + 2 * padding - kernel) // stride + 1
    image = np.zeros((1, 1, size, size), np.float32)
    found = nn.Conv2d(1, 1, kernel, stride=stride, padding=padding)(image).shape[-1]
    print(f"size {size}, kernel {kernel}, stride {stride}, padding {padding}: {found}")
    assert found == expected

print("\nExplain a number")
# With stride 2, the copies of the kernel start at every second pixel. A kernel of 3 covers one pixel alone, and shares
# the next pixel with the neighbouring copy. In one direction the counts are 1, 2, 1, 2, ... In two directions they
# multiply to 1, 2 and 4. A kernel of 4 has two copies everywhere, so the count is 2 x 2 = 4.
ones = np.ones((1, 1, 6, 6), np.float32)
for kernel, extra, counts in ((3, 1, {1, 2, 4}), (4, 0, {4})):
    layer = nn.ConvTranspose2d(1, 1, kernel, stride=2, padding=1, output_padding=extra, bias=False)
    layer.weight.data[...] = 1
    with sa.no_grad():
        inside = layer(ones).numpy()[0, 0, 2:-2, 2:-2]
    print(f"kernel {kernel}:", *(" ".join(f"{value:.0f}" for value in row) for row in inside[:2]), sep="\n    ")
    assert set(inside.ravel().tolist()) == counts

print("\nWrite code")
# One permutation moves the pixels of all images. For the dense network, only the names of the pixels change. The
# convolutional network loses its neighbourhoods, and its error rises.
order = np.random.default_rng(0).permutation(784)
train, test = digits.train[:2000], digits.test


def shuffled(images):
    return images.reshape(len(images), 784)[:, order].reshape(images.shape)


def test_error(model, train, test):
    optimizer = optim.Adam(model.parameters(), lr=3e-3)
    sa.Trainer(model, optimizer).fit(train, epochs=8, batch_size=64, progress=False)
    return float(np.mean((model.reconstruct(test) - test) ** 2))


ratios = {}
for name, build in (
    ("dense", lambda: sa.Autoencoder.dense((784, 128, 64))),
    ("convolutional", lambda: ConvAutoencoder((1, 8, 16), "stride", code_size=64)),
):
    errors = []
    for images in ((train, test), (shuffled(train), shuffled(test))):
        sa.manual_seed(0)
        errors.append(test_error(build(), *images))
    ratios[name] = errors[1] / errors[0]
    print(f"{name}: test MSE {errors[0]:.4f}, shuffled {errors[1]:.4f}, ratio {ratios[name]:.2f}")
assert 0.9 < ratios["dense"] < 1.1
assert ratios["convolutional"] > 1.1
