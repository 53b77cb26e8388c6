"""Random changes of images, for `DataLoader(..., transform=...)`.

Each function takes images (N, C, H, W) or (N, H, W) and NumPy's generator of random numbers. The result is a new array.
`flip`, `crop` and `rotate` keep the dtype, so bytes stay bytes. Every image gets a draw of its own. A function is a
transform itself, or a part of your own:

    def transform(batch, generator):
        images, labels = batch
        return rotate(flip(images, generator), generator, degrees=5), labels

    DataLoader((images, labels), 64, shuffle=True, transform=transform)
"""

from __future__ import annotations

from typing import Any

import numpy as np

from scratchae.backend import Array, device_of, is_array, plain_array, to_device, xp_of
from scratchae.checks import check_count, check_number, shown


def flip(images: Array, generator: np.random.Generator, probability: float = 0.5) -> Array:
    """Images whose left and right are exchanged, each with the given probability.

    Raises ValueError for a probability outside [0, 1].
    """
    probability = check_number("flip: probability", probability, "[0, 1]")
    stack = _checked("flip", images)
    flipped = _there(stack, generator.random(len(stack)) < probability)
    return xp_of(stack).where(flipped[:, None, None, None], stack[..., ::-1], stack).reshape(images.shape)


def crop(
    images: Array, generator: np.random.Generator, size: int | tuple[int, int] | None = None, padding: int = 4
) -> Array:
    """A window of each image at a random place, after `padding` zeros were put around the image.

    `size` is the side of the window, or its (height, width). None stands for the image's own sides. The default then
    shifts each image by up to 4 pixels.

    Raises ValueError for a window that is larger than the padded image.
    """
    padding = check_count("crop: padding", padding, 0)
    stack = _checked("crop", images)
    n, _, *sides = stack.shape
    window = list(size) if isinstance(size, (tuple, list)) else sides if size is None else [size, size]
    if len(window) != 2:
        raise ValueError(f"crop: size={shown(size)}; expected a side, or (height, width)")
    places = []
    for side, length in zip(window, sides, strict=True):
        room = length + 2 * padding - check_count("crop: size", side)
        if room < 0:
            raise ValueError(f"crop: size={shown(size)} of an image of side {length} with padding {padding}; "
                             f"expected at most {length + 2 * padding}")  # fmt: skip
        starts = generator.integers(0, room + 1, n)
        places.append(_there(stack, starts[:, None] + np.arange(side)))
    rows, columns = places
    padded = xp_of(stack).pad(stack, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    which = _there(stack, np.arange(n))[:, None, None]
    cut = padded[which, :, rows[:, :, None], columns[:, None, :]]  # NumPy puts the channels last
    return cut.transpose(0, 3, 1, 2).reshape(*images.shape[:-2], *window)


def rotate(images: Array, generator: np.random.Generator, degrees: float = 10.0) -> Array:
    """Images turned around their centre, each by a random angle between -degrees and degrees.

    A pixel is the bilinear mean of the four pixels around its place before the turn. What comes from outside is 0.

    Raises ValueError for degrees outside [0, 180].
    """
    degrees = check_number("rotate: degrees", degrees, "[0, 180]")
    stack = _checked("rotate", images)
    n, channels, height, width = stack.shape
    angles = np.deg2rad(generator.uniform(-degrees, degrees, n))[:, None, None]
    y, x = np.arange(height)[:, None] - (height - 1) / 2, np.arange(width) - (width - 1) / 2
    ys = np.cos(angles) * y + np.sin(angles) * x + (height - 1) / 2
    xs = np.cos(angles) * x - np.sin(angles) * y + (width - 1) / 2
    top, left = np.floor(ys), np.floor(xs)
    flat = stack.reshape(n, channels, height * width)
    wide: Any = np.result_type(stack.dtype, np.float32) if stack.dtype.kind == "f" else np.float32
    total: Any = 0.0
    for row, part_y in ((top, 1 - (ys - top)), (top + 1, ys - top)):
        for column, part_x in ((left, 1 - (xs - left)), (left + 1, xs - left)):
            inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
            index = (np.clip(row, 0, height - 1) * width + np.clip(column, 0, width - 1)).astype(np.int64)
            share = _there(stack, np.where(inside, part_y * part_x, 0).astype(wide).reshape(n, 1, height * width))
            pixels = xp_of(stack).take_along_axis(flat, _there(stack, index.reshape(n, 1, height * width)), axis=2)
            total = total + share * pixels.astype(wide)
    turned = total if stack.dtype.kind == "f" else xp_of(stack).rint(total)
    return turned.astype(stack.dtype).reshape(images.shape)


def scale(images: Array, generator: np.random.Generator | None = None) -> Array:
    """Bytes as float32 in [0, 1]: images / 255. The generator is not used."""
    images = _array("scale", images)
    if images.dtype != np.uint8:
        raise TypeError(f"scale got {images.dtype}; expected uint8, whose largest value is 255")
    return images.astype(np.float32) / 255


def _checked(name: str, images: Any) -> Array:
    """Images as an array (N, C, H, W)."""
    images = _array(name, images)
    if images.ndim not in (3, 4) or 0 in images.shape[-2:]:
        raise ValueError(f"{name} got shape {images.shape}; expected (N, C, H, W) or (N, H, W): use .reshape")
    return images[:, None] if images.ndim == 3 else images


def _array(name: str, images: Any) -> Array:
    if not is_array(images):
        advice = "of several arrays, pass the images alone, in a transform of your own"
        raise TypeError(f"{name} got a {type(images).__name__}; expected an array of images: {advice}")
    return plain_array(images, f"{name}: images")


def _there(images: Array, drawn: np.ndarray) -> Array:
    """What was drawn, on the device of the images."""
    return to_device(drawn, device_of(images))
