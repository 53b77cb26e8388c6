"""The functions that let other libraries work with Tensors, and let operations take other libraries' values."""

from __future__ import annotations

from scratchae.attach import attach
from scratchae.autograd import engine
from scratchae.autograd.methods import Methods
from scratchae.interop import dlpack, numpy, operands

attach(engine.unbox_others, forward=operands.unbox_others)
attach(engine.unbox_options, forward=operands.unbox_options)

Methods.__array__ = numpy.array  # type: ignore[method-assign]
Methods.__array_ufunc__ = numpy.ufunc
Methods.__array_function__ = numpy.other  # type: ignore[attr-defined]
Methods._mask = numpy.mask  # type: ignore[attr-defined]
Methods.__dlpack__ = dlpack.exported  # type: ignore[attr-defined]
Methods.__dlpack_device__ = dlpack.device  # type: ignore[attr-defined]
Methods.__pandas_priority__ = 10_000  # type: ignore[attr-defined]  # else pandas computes `series * tensor` by itself
