"""What other libraries may do with a Tensor."""

from __future__ import annotations

from scratchae.autograd.methods import Methods
from scratchae.interop import numpy

Methods.__array__ = numpy.array  # type: ignore[method-assign]
Methods.__array_ufunc__ = numpy.ufunc
Methods.__array_function__ = numpy.other  # type: ignore[attr-defined]
Methods._mask = numpy.mask  # type: ignore[attr-defined]
Methods.__pandas_priority__ = 10_000  # type: ignore[attr-defined]  # else pandas computes `series * tensor` by itself
