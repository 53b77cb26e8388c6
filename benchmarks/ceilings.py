"""The least work of a training step, and the peaks of a GPU, for the shares that gpu.py prints.

FLOP: the step's matrix products, each forward and for both gradients. The first layer's input needs no gradient.
Bytes: Adam reads four numbers per weight and writes three. The batch is read once. The output of each layer is written
once and read once. A library without fused kernels moves several times as many bytes. A small model stays in the cache,
and so can reach more than the memory's peak.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from convolutions import Network
from workloads import Dense, Variational

# Multiply-adds per multiprocessor and cycle, by compute capability. The float32 numbers are from the CUDA programming
# guide's table of arithmetic throughput. The TF32 numbers (without sparsity) are the data sheets' rates, divided by
# clock and multiprocessors.
FLOAT32 = {"75": 64, "80": 64, "86": 128, "87": 128, "89": 128, "90": 128, "100": 128, "120": 128}
TF32 = {"80": 512, "86": 128, "87": 128, "89": 128, "90": 1024}


class Product(NamedTuple):
    """A layer's matrix product, (rows, inner) times (inner, columns), and the number of the layer's results."""

    rows: int
    inner: int
    columns: int
    results: int


def products(workload: Any) -> list[Product]:
    batch = workload.batch
    if isinstance(workload, Network):
        return _convolutions(workload)
    if isinstance(workload, Dense):
        sizes = [(n_in, n_out) for n_in, n_out, _ in workload.layers()]
    elif isinstance(workload, Variational):
        n, hidden, code = workload.sizes
        sizes = [(n, hidden), (hidden, code), (hidden, code), (code, hidden), (hidden, n)]
    else:
        raise TypeError(f"nobody has counted a {type(workload).__name__}")
    return [Product(batch, n_in, n_out, batch * n_out) for n_in, n_out in sizes]


def _convolutions(network: Network) -> list[Product]:
    """3x3 kernels, padded by 1; see Network."""
    side, found = network.side, []
    for layer in network.layers:
        kind, *options = (layer,) if isinstance(layer, str) else layer
        if kind == "conv":
            channels, out, stride = options
            side = -(-side // stride)
            pixels = network.batch * side * side
            found.append(Product(pixels, 9 * channels, out, pixels * out))
        elif kind == "transpose":
            channels, out = options
            found.append(Product(network.batch * side * side, channels, 9 * out, 4 * network.batch * side * side * out))
            side *= 2
        else:
            side = {"pool": side // 2, "upsample": 2 * side}.get(kind, side)
    return found


def work(workload: Any) -> dict[str, float]:
    """FLOP and bytes of a step."""
    layers = products(workload)
    flop = sum(2 * p.rows * p.inner * p.columns * (3 if i else 2) for i, p in enumerate(layers))
    batch = workload.batch * (workload.side**2 if isinstance(workload, Network) else workload.sizes[0])
    numbers = sum(7 * p.inner * p.columns + 2 * p.results for p in layers) + batch
    return {"flop": float(flop), "bytes": 4.0 * numbers}


def device() -> dict[str, Any]:
    """The GPU, its software, and its peaks; RuntimeError without one."""
    import numpy as np

    from scratchae import backend

    backend.to_device(np.zeros(1), "gpu")  # raises the error that says what is missing
    import cupy

    gpu, runtime = cupy.cuda.Device(0), cupy.cuda.runtime
    attributes, capability = gpu.attributes, gpu.compute_capability
    hertz, multiprocessors = 1e3 * attributes.get("ClockRate", math.nan), attributes["MultiProcessorCount"]
    # Memory sends twice per cycle of the clock that is reported.
    bandwidth = 2e3 * attributes.get("MemoryClockRate", math.nan) * attributes.get("GlobalMemoryBusWidth", math.nan) / 8

    def rate(lanes: dict[str, int]) -> float:
        return 2 * lanes.get(capability, math.nan) * multiprocessors * hertz

    return {
        "name": runtime.getDeviceProperties(0)["name"].decode(),
        "compute capability": capability,
        "memory": f"{runtime.memGetInfo()[1] / 2**30:.1f} GiB",
        "CUDA": f"{runtime.driverGetVersion()} by the driver, {runtime.runtimeGetVersion()} at run time",
        "cupy": cupy.__version__,
        "peaks": {"float32": rate(FLOAT32), "tf32": rate(TF32), "bytes": bandwidth},
        "peaks from": f"{multiprocessors} multiprocessors at {hertz / 1e9:.2f} GHz",
    }
