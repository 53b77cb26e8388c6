"""The floor: a dense training step written by hand in NumPy. All arrays are allocated beforehand.

No framework on NumPy can be much faster, since the floor has no graph, no allocation, and only calls that compute. The
difference from the floor to scratchae is the cost of a general engine. "products" is the time of the step's matrix
products alone, which any library has to compute. The difference from "products" to the floor is the time of
activations, the loss and Adam.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from paired import Step
from sides import initial_values
from workloads import Dense

CHUNK = 1 << 17  # elements of Adam's buffers per pass, which fit in the cache, as in scratchae


def build(w: Dense, who: str) -> Step:
    return Floor(w).step if who == "floor" else products(w)


class Floor:
    """`step(i)` as for every contestant. In float64 the step is a reference for the other results."""

    def __init__(self, w: Dense, dtype: Any = np.float32):
        self.layers, self.rate = w.layers(), w.rate
        self.data = w.data().astype(dtype)
        shapes = [shape for n_in, n_out, _ in self.layers for shape in ((n_out, n_in), (n_out,))]
        self.values = np.concatenate([v.ravel() for v in initial_values(shapes)]).astype(dtype)
        self.gradients, self.sum, self.sum_sq = (np.zeros_like(self.values) for _ in range(3))
        self.scratch = np.empty(min(CHUNK, self.values.size), dtype)
        self.weights, self.biases = _views(self.values, shapes)
        self.weight_grads, self.bias_grads = _views(self.gradients, shapes)
        outs = [n_out for _, n_out, _ in self.layers]
        self.outputs, self.slopes = ([np.empty((w.batch, n), dtype) for n in outs] for _ in range(2))
        self.temporaries = [np.empty((w.batch, n), dtype) for n in outs]
        self.masks = [np.empty((w.batch, n), bool) for n in outs]
        self.zeros = [np.zeros(n, dtype) for n in outs]  # NumPy's maximum is faster with a row than with a number
        self.ones = np.ones(w.batch, dtype)
        self.steps = 0

    def step(self, i: int) -> float:
        x = self.data[i % len(self.data)]
        loss = self.forward(x)
        self.backward(x)
        self.adam(self.rate)
        return loss

    def forward(self, x: np.ndarray) -> float:
        h = x
        for k, (_, _, activation) in enumerate(self.layers):
            h = np.matmul(h, self.weights[k].T, out=self.outputs[k])
            h += self.biases[k]
            if activation == "ReLU":
                np.maximum(h, self.zeros[k], out=h)
            elif activation == "Sigmoid":
                np.negative(h, out=h)
                np.exp(h, out=h)
                h += 1
                np.reciprocal(h, out=h)
        error = np.subtract(h, x, out=self.slopes[-1]).ravel()
        return float(error @ error) / error.size

    def backward(self, x: np.ndarray) -> None:
        g = self.slopes[-1]  # the error
        g *= 2 / g.size
        for k in reversed(range(len(self.layers))):
            h, t, activation = self.outputs[k], self.temporaries[k], self.layers[k][2]
            if activation == "ReLU":  # keeps all bits of a number or none; a product would first convert the mask
                keep, bits = np.greater(h, self.zeros[k], out=self.masks[k]).view(np.int8), t.view(f"i{t.itemsize}")
                bits[...] = np.negative(keep, out=keep)
                np.bitwise_and(bits, g.view(bits.dtype), out=g.view(bits.dtype))
            elif activation == "Sigmoid":
                np.subtract(1, h, out=t)
                t *= h
                g *= t
            np.matmul(g.T, self.outputs[k - 1] if k else x, out=self.weight_grads[k])
            np.matmul(self.ones, g, out=self.bias_grads[k])
            if k:
                g = np.matmul(g, self.weights[k], out=self.slopes[k - 1])

    def adam(self, lr: float, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8) -> None:
        """Adam on discounted sums of g and g^2. One number at the end contains the factors 1 - beta."""
        self.steps += 1
        root = math.sqrt((1 - beta2**self.steps) / (1 - beta2))
        rate = lr * root * (1 - beta1) / (1 - beta1**self.steps)
        for start in range(0, self.values.size, CHUNK):
            p, g, m, v = (a[start : start + CHUNK] for a in (self.values, self.gradients, self.sum, self.sum_sq))
            t = self.scratch[: p.size]
            m *= beta1
            m += g
            v *= beta2
            v += np.multiply(g, g, out=t)
            np.sqrt(v, out=t)
            t += eps * root
            np.divide(m, t, out=t)
            t *= rate
            p -= t


def products(w: Dense) -> Step:
    """Forward, weight gradient and input gradient: three products per layer, but two for the first layer."""
    floor = Floor(w)
    last = [np.ones_like(h) for h in floor.outputs]

    def step(i: int) -> None:
        x = floor.data[i % len(floor.data)]
        for k, weight in enumerate(floor.weights):
            np.matmul(last[k - 1] if k else x, weight.T, out=floor.outputs[k])
        for k in reversed(range(len(floor.weights))):
            np.matmul(last[k].T, last[k - 1] if k else x, out=floor.weight_grads[k])
            if k:
                np.matmul(last[k], floor.weights[k], out=floor.slopes[k - 1])

    return step


def _views(flat: np.ndarray, shapes: list[tuple[int, ...]]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Weights and biases, side by side in one buffer."""
    ends = np.cumsum([math.prod(shape) for shape in shapes])
    views = [flat[end - math.prod(shape) : end].reshape(shape) for end, shape in zip(ends, shapes, strict=True)]
    return views[::2], views[1::2]
