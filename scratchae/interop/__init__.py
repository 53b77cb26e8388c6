"""Models in and out: ONNX files for other runtimes, and PyTorch's modules in both directions.

Nothing here is needed to train; the packages that it needs (`onnx`, `torch`) are imported when a function is called.
"""

from scratchae.interop.onnx import to_onnx
from scratchae.interop.torch import from_torch, to_torch

__all__ = ["to_onnx", "from_torch", "to_torch"]
