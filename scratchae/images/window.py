"""What moves over an image: a kernel in steps over a padded image."""

from __future__ import annotations

from typing import NamedTuple

Pair = tuple[int, int]
Pads = tuple[Pair, Pair]  # ((top, bottom), (left, right))


class Window(NamedTuple):
    """A kernel of so many rows and columns, its steps, the zeros around the image, and the gaps in the kernel.

    A padding below 0, at the bottom or on the right, keeps the kernel so far from that edge.
    """

    kernel: Pair
    stride: Pair
    pads: Pads
    dilation: Pair = (1, 1)
