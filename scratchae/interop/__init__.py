"""Models in and out: ONNX files for other runtimes, and PyTorch's modules in both directions.

Training needs no function of this folder. A call of a function imports the package that it needs, `onnx` or `torch`.
"""

from scratchae.interop.onnx import to_onnx
from scratchae.interop.torch import from_torch, to_torch

__all__ = ["to_onnx", "from_torch", "to_torch"]
