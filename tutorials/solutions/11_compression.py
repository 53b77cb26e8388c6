"""Solutions of tutorial 11, on the embedded sample.

python tutorials/solutions/11_compression.py
"""

import copy
import sys
from pathlib import Path

import numpy as np

from scratchae import data

sys.path.append(str(Path(__file__).parents[1]))
from common import load
from pca_codec import PCACodec

digits = load("sample", data.mnist, data.mnist_sample)


def error(codec, widths, contrast=1.0):
    return float(np.mean((codec.decode(codec.encode(digits.test, widths), widths, contrast) - digits.test) ** 2))


print("Change a constant")
# At 8 bytes, the largest width is 3 bits, so a limit of 2 bits costs little. At 64 bytes, the limit moves many bits
# from directions with a large variance to directions with a small variance.
codec = PCACodec(digits.train)
limited = copy.copy(codec)
limited.errors = codec.errors[:, :3]  # 0, 1 and 2 bits
ratios = {}
for rate in (8, 64):
    free, low = error(codec, codec.share_out(8 * rate)), error(limited, limited.share_out(8 * rate))
    ratios[rate] = low / free
    print(f"{rate} bytes, test MSE: up to 8 bits {free:.5f}, up to 2 bits {low:.5f}, ratio {ratios[rate]:.2f}")
assert 1 < ratios[8] < 1.1 < 1.5 < ratios[64]

print("\nExplain a number")
# PCA's numbers are the best for the error before clipping, so a contrast of 1 is the best there. Most pixels are near 0
# or 1. With a higher contrast, more reconstructed values lie outside [0, 1], and clipping returns exactly 0 or 1.
widths = codec.share_out(256)
levels = codec.encode(digits.test, widths)
numbers = np.stack([v[b][level] for level, v, b in zip(levels.T, codec.values, widths, strict=False)], axis=1)
before = {}
for contrast in (1.0, 1.26):
    images = codec.mean + contrast * numbers @ codec.directions[: len(widths)]
    before[contrast] = np.mean((images - digits.test.reshape(len(images), -1)) ** 2)
    clipped = error(codec, widths, contrast)
    print(f"contrast {contrast:.2f}, test MSE: before clipping {before[contrast]:.5f}, after clipping {clipped:.5f}")
assert before[1.0] < before[1.26]
assert error(codec, widths, 1.26) < 0.9 * error(codec, widths)

print("\nWrite code")
# The levels of Lloyd and Max are used about equally often, so an entropy code saves only 5%. With equal distances, the
# levels are used less equally. An entropy code then saves more, but the error is larger. Here, the two effects cancel.
train_levels = codec.encode(digits.train, widths)
bits = 0.0
for known, new, width in zip(train_levels.T, levels.T, widths, strict=True):
    counts = 0.01 + np.bincount(known, minlength=2**width)
    bits -= np.log2(counts / counts.sum())[new].mean()
steps = np.geomspace(0.4, 0.8, 7)
contrast = codec.best_contrast(digits.validation, widths)
found = [codec.entropy_coded(digits.train, digits.test, step, contrast) for step in steps]
errors = [np.mean((images - digits.test) ** 2) for _, images in found]
equal_distances = np.interp(error(codec, widths, contrast), errors, [size for size, _ in found])
print(f"256 bits become {bits:.0f} bits; with equal distances {equal_distances:.0f} bits for the same test MSE")
assert 0.9 * 256 < bits < 0.98 * 256
assert abs(equal_distances - bits) < 8
