"""Normalisation and its derivative as compiled loops: first the sums of each channel, then the results.

A channel consists of the numbers that share a mean and a variance. The memory order is (R, K, M, N), and x[:, k, :, n]
is a channel. Examples for a batch of B samples:

- Lines: N = 1. A channel consists of lines of M numbers. Images are (H, C, W B, 1), see images/conv.py.
- Columns: channels lie side by side. Dense layers are (B, 1, 1, C), and G groups of channels are (H, G, W C / G, B).

Each block of a line is added up in its own dtype, and the blocks in float64. The variance of a block is taken around
the block's mean, so that a large mean costs no digits (Chan et al. 1979).
"""

from __future__ import annotations

import numpy as np

from scratchae.fast.loops import inlined, loop, summing

BLOCK = 2048  # numbers of a line at a time


@summing
def total(x):
    s = x.dtype.type(0)
    for n in range(x.size):
        s += x[n]
    return s


@summing
def around(x, m):
    """The sum of x - m, and the sum of the squares."""
    s = t = x.dtype.type(0)
    for n in range(x.size):
        d = x[n] - m
        s += d
        t += d * d
    return s, t


@summing
def products(g, x, m):
    """The sum of g, and the sum of g (x - m)."""
    s = t = x.dtype.type(0)
    for n in range(x.size):
        s += g[n]
        t += g[n] * (x[n] - m)
    return s, t


@inlined
def line_of(x, r, k):
    return x[r, k].reshape(-1)


@loop
def moments_of_lines(x, average, variance, channels, columns):
    """`average` and `variance` (K) of the channels `channels[0]` to `channels[1]` of x (R, K, M, 1)."""
    R, _, M, _ = x.shape
    for k in range(channels[0], channels[1]):
        count = mean = squares = 0.0
        for r in range(R):
            for first in range(0, M, BLOCK):
                block = line_of(x, r, k)[first : first + BLOCK]
                n = block.size
                m = total(block) / x.dtype.type(n)
                rest, own = around(block, m)
                rest, shift = np.float64(rest) / n, m - mean  # the mean in float64 is m + rest
                shift += rest
                squares += own - rest * rest * n + shift * shift * count * n / (count + n)
                count += n
                mean += shift * n / count
        average[k], variance[k] = mean, squares / count


@loop
def results_of_lines(x, weight, bias, average, variance, eps, out, channels, columns):
    """`out` (R, K, M, 1), from weight, bias, average and variance (K)."""
    R, _, M, _ = x.shape
    for k in range(channels[0], channels[1]):
        m, b, scale = average[k], bias[k], x.dtype.type(weight[k] / np.sqrt(np.float64(variance[k]) + eps))
        for r in range(R):
            line, to = line_of(x, r, k), line_of(out, r, k)
            for n in range(M):
                to[n] = (line[n] - m) * scale + b


@loop
def slopes_of_lines(g, x, weight, average, variance, eps, dx, dweight, dbias, channels, columns):
    """dx (R, K, M, 1), dweight and dbias (K). With z = (x - average) / sqrt(variance + eps), for each channel:

    dbias = sum g, dweight = sum g z, dx = weight / sqrt(variance + eps) (g - mean g - z mean(g z)).
    """
    R, _, M, _ = x.shape
    for k in range(channels[0], channels[1]):
        m, sum_g, sum_gz = average[k], 0.0, 0.0
        inverse = 1 / np.sqrt(np.float64(variance[k]) + eps)
        for r in range(R):
            for first in range(0, M, BLOCK):
                end = first + BLOCK
                s, t = products(line_of(g, r, k)[first:end], line_of(x, r, k)[first:end], m)
                sum_g += s
                sum_gz += t * inverse
        dweight[k], dbias[k] = sum_gz, sum_g
        scale, shift = x.dtype.type(weight[k] * inverse), x.dtype.type(sum_g / (R * M))
        slope = x.dtype.type(sum_gz * inverse / (R * M))
        for r in range(R):
            line, gradient, to = line_of(x, r, k), line_of(g, r, k), line_of(dx, r, k)
            for n in range(M):
                to[n] = scale * (gradient[n] - shift - (line[n] - m) * slope)


# --- columns --------------------------------------------------------------------------------------


@loop
def moments_of_columns(x, average, variance, channels, columns):
    """`average` and `variance` (K N) of x (R, K, M, N), for k in the range `channels` and n in the range `columns`."""
    (R, _, M, N), (first, last) = x.shape, columns
    for k in range(channels[0], channels[1]):
        m, v = average[k * N + first : k * N + last], variance[k * N + first : k * N + last]
        sums, squares = np.zeros(m.size), np.zeros(m.size)
        for r in range(R):
            for i in range(M):
                row = x[r, k, i, first:last]
                for n in range(m.size):
                    sums[n] += row[n]
        for n in range(m.size):
            m[n] = sums[n] / (R * M)
            sums[n] = 0
        for r in range(R):
            for i in range(M):
                row = x[r, k, i, first:last]
                for n in range(m.size):
                    d = np.float64(row[n] - m[n])
                    sums[n] += d
                    squares[n] += d * d
        for n in range(m.size):
            v[n] = (squares[n] - sums[n] * sums[n] / (R * M)) / (R * M)


@loop
def results_of_columns(x, weight, bias, average, variance, eps, out, channels, columns):
    """`out` (R, K, M, N), from weight, bias, average and variance (K N)."""
    (R, _, M, N), (first, last) = x.shape, columns
    scale = np.empty(last - first, x.dtype)
    for k in range(channels[0], channels[1]):
        m, b = average[k * N + first : k * N + last], bias[k * N + first : k * N + last]
        for n in range(m.size):
            at = k * N + first + n
            scale[n] = weight[at] / np.sqrt(np.float64(variance[at]) + eps)
        for r in range(R):
            for i in range(M):
                row, to = x[r, k, i, first:last], out[r, k, i, first:last]
                for n in range(m.size):
                    to[n] = (row[n] - m[n]) * scale[n] + b[n]


@loop
def slopes_of_columns(g, x, weight, average, variance, eps, dx, dweight, dbias, channels, columns):
    """As `slopes_of_lines`: dx (R, K, M, N), dweight and dbias (K N)."""
    (R, _, M, N), (first, last) = x.shape, columns
    width = last - first
    scale, slope, shift = np.empty(width, x.dtype), np.empty(width, x.dtype), np.empty(width, x.dtype)
    for k in range(channels[0], channels[1]):
        m, sum_g, sum_gz = average[k * N + first : k * N + last], np.zeros(width), np.zeros(width)
        for r in range(R):
            for i in range(M):
                row, gradient = x[r, k, i, first:last], g[r, k, i, first:last]
                for n in range(width):
                    sum_g[n] += gradient[n]
                    sum_gz[n] += gradient[n] * (row[n] - m[n])
        for n in range(width):
            at = k * N + first + n
            inverse = 1 / np.sqrt(np.float64(variance[at]) + eps)
            dweight[at], dbias[at] = sum_gz[n] * inverse, sum_g[n]
            scale[n], shift[n] = weight[at] * inverse, sum_g[n] / (R * M)
            slope[n] = sum_gz[n] * inverse * inverse / (R * M)
        for r in range(R):
            for i in range(M):
                row, gradient, to = x[r, k, i, first:last], g[r, k, i, first:last], dx[r, k, i, first:last]
                for n in range(width):
                    to[n] = scale[n] * (gradient[n] - shift[n] - (row[n] - m[n]) * slope[n])
