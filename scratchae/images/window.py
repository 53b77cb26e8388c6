"""The window: a kernel that moves in steps over a padded image."""

from typing import NamedTuple

Pair = tuple[int, int]
Size = int | Pair  # one number for both directions, or (vertical, horizontal)


class Window(NamedTuple):
    """The rows and columns of a kernel, its steps, the zeros around the image, and the gaps in the kernel.

    A padding below 0, at the bottom or on the right, keeps the kernel at that distance from the edge.
    """

    kernel: Pair
    stride: Pair
    pads: tuple[Pair, Pair] = ((0, 0), (0, 0))  # ((top, bottom), (left, right))
    dilation: Pair = (1, 1)


def output_size(size: Pair, window: Window) -> Pair:
    """Rows and columns of the output, for n rows or columns of the input: floor((n + pads - d (k - 1) - 1) / s) + 1."""
    h, w = ((n + sum(p) - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in zip(size, *window, strict=True))
    return h, w


def reach(window: Window, axis: int, tap: int, n_in: int, n_out: int) -> tuple[slice, slice]:
    """Along an axis: the outputs for which `tap` reads inside the input, and the inputs that the tap reads."""
    stride, shift = window.stride[axis], window.dilation[axis] * tap - window.pads[axis][0]
    first = min(max(0, -(shift // stride)), n_out)
    last = max(first, min(n_out, (n_in - 1 - shift) // stride + 1))
    start = first * stride + shift
    return slice(first, last), slice(start, start + (last - first - 1) * stride + 1 if last > first else start, stride)
