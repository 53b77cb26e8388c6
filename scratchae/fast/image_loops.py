"""Convolutions as compiled loops, without a matrix of columns. The memory order is (H, C, W, N), see images/conv.py.

`frame` copies the images once, with their padding, and puts the columns that one tap meets side by side. Each tap of
an output row is then one contiguous line of the copy:

    y[a, o, m] = sum over c, i, j of  w[o, c, i, j] * line(c, i, j)[m]        m counts columns and images, (Wo, N)

Two output channels share the lines that they read, and a block of a line stays in the cache for all input channels.
"""

from __future__ import annotations

import numpy as np

from scratchae.fast.loops import f, inlined, loop, summing

BLOCK = 2048  # numbers of a line at a time


@loop
def frame(X, P, top, left, start, stop):
    """Rows start to stop of P (rows, C, stride, columns, N), from X (H, C, W, N). Column w of the padded image lies in
    P[..., w % stride, w // stride, :]. Outside of the images, P is 0.
    """
    H, C, W, N = X.shape
    stride, columns = P.shape[2:4]
    p, x = P.reshape(-1), X.reshape(-1)
    for h in range(start, stop):
        for c in range(C):
            for phase in range(stride):
                at = ((h * C + c) * stride + phase) * columns * N
                line = p[at : at + columns * N]
                first = -((phase - left) // stride)  # the first column inside the image, and the last one
                last = min((W - 1 + left - phase) // stride, columns - 1)
                if not 0 <= h - top < H or first > last:
                    line[:] = 0
                    continue
                line[: first * N] = 0
                line[(last + 1) * N :] = 0
                together = last + 1 - first if stride == 1 else 1  # columns that lie side by side in X too
                for column in range(first, last + 1, together):
                    at = (((h - top) * C + c) * W + column * stride + phase - left) * N
                    source, target = x[at : at + together * N], line[column * N : (column + together) * N]
                    for n in range(together * N):
                        target[n] = source[n]


@inlined
def nine(w, o, c):
    w = w[o, c]
    return w[0, 0], w[0, 1], w[0, 2], w[1, 0], w[1, 1], w[1, 2], w[2, 0], w[2, 1], w[2, 2]


@inlined
def nine_lines(p, at, rows, c1, c2, m):
    """Lines of `m` numbers for the taps of a 3 x 3 window, from `at`; `rows`, `c1`, `c2` are distances."""
    r0, r1, r2 = at, at + rows, at + 2 * rows
    return (
        p[r0 : r0 + m], p[r0 + c1 : r0 + c1 + m], p[r0 + c2 : r0 + c2 + m],
        p[r1 : r1 + m], p[r1 + c1 : r1 + c1 + m], p[r1 + c2 : r1 + c2 + m],
        p[r2 : r2 + m], p[r2 + c1 : r2 + c1 + m], p[r2 + c2 : r2 + c2 + m],
    )  # fmt: skip


@inlined
def nine_terms(s, w, x, n):
    """`s` plus the nine products. Two shorter chains of additions keep the processor busier than a long one."""
    t = w[5] * x[5][n] + w[6] * x[6][n] + w[7] * x[7][n] + w[8] * x[8][n]
    return (s + w[0] * x[0][n] + w[1] * x[1][n] + w[2] * x[2][n] + w[3] * x[3][n] + w[4] * x[4][n]) + t


@loop
def correlate_nine(P, w, bias, Y, step, rows, c1, c2, start, stop):
    """Rows start to stop of Y (Ho, O, Wo N), the bias (O) included. `step` is the distance of output rows in P, in
    numbers.
    """
    O, L = Y.shape[1:]  # noqa: E741
    C, p, per_channel = w.shape[1], P.reshape(-1), P[0, 0].size
    for first in range(0, L, BLOCK):
        m = min(BLOCK, L - first)
        for a in range(start, stop):
            for o in range(0, O, 2):
                y0, y1 = Y[a, o, first : first + m], Y[a, min(o + 1, O - 1), first : first + m]
                y0[:], y1[:] = bias[o], bias[min(o + 1, O - 1)]
                for c in range(C):
                    x = nine_lines(p, a * step + c * per_channel + first, rows, c1, c2, m)
                    w0, w1 = nine(w, o, c), nine(w, min(o + 1, O - 1), c)
                    if o + 1 < O:
                        for n in range(m):
                            y0[n] = nine_terms(y0[n], w0, x, n)
                            y1[n] = nine_terms(y1[n], w1, x, n)
                    else:
                        for n in range(m):
                            y0[n] = nine_terms(y0[n], w0, x, n)


@summing
def nine_products(g, h, x, m):
    """The sums over n of g[n] x[n] and of h[n] x[n], for nine lines x."""
    s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = s8 = g.dtype.type(0)
    t0 = t1 = t2 = t3 = t4 = t5 = t6 = t7 = t8 = g.dtype.type(0)
    for n in range(m):
        u, v = g[n], h[n]
        s0, t0 = s0 + u * x[0][n], t0 + v * x[0][n]
        s1, t1 = s1 + u * x[1][n], t1 + v * x[1][n]
        s2, t2 = s2 + u * x[2][n], t2 + v * x[2][n]
        s3, t3 = s3 + u * x[3][n], t3 + v * x[3][n]
        s4, t4 = s4 + u * x[4][n], t4 + v * x[4][n]
        s5, t5 = s5 + u * x[5][n], t5 + v * x[5][n]
        s6, t6 = s6 + u * x[6][n], t6 + v * x[6][n]
        s7, t7 = s7 + u * x[7][n], t7 + v * x[7][n]
        s8, t8 = s8 + u * x[8][n], t8 + v * x[8][n]
    return (s0, s1, s2, s3, s4, s5, s6, s7, s8), (t0, t1, t2, t3, t4, t5, t6, t7, t8)


@loop
def weights_nine(P, G, W, step, rows, c1, c2, start, stop):
    """W (O, C, 9): the sums over the rows start to stop, all their pixels and all images."""
    _, O, L = G.shape  # noqa: E741
    C, p, per_channel = W.shape[1], P.reshape(-1), P[0, 0].size
    W[:] = 0
    for first in range(0, L, BLOCK):
        m = min(BLOCK, L - first)
        for a in range(start, stop):
            for o in range(0, O, 2):
                other = min(o + 1, O - 1)
                g, h = G[a, o, first : first + m], G[a, other, first : first + m]
                for c in range(C):
                    x = nine_lines(p, a * step + c * per_channel + first, rows, c1, c2, m)
                    s, t = nine_products(g, h, x, m)
                    for k in range(9):
                        W[o, c, k] += s[k]
                        if other > o:
                            W[other, c, k] += t[k]


@inlined
def four_lines(p, at, row, N, m):
    """Lines of `m` numbers from `at`: two neighbouring columns in each of two neighbouring rows."""
    return (
        p[at : at + m], p[at + N : at + N + m],
        p[at + row : at + row + m], p[at + row + N : at + row + N + m],
    )  # fmt: skip


def _transpose_nine(odd):
    """The loop for an odd padding above and to the left (`odd` is 1), or for an even padding (0)."""
    column, row, here = (0, 0, 0) if odd else (1, 2, 3)  # the lines that one column, one row, one weight meets

    @inlined
    def four_sums(s, w, x, n):
        """`s` plus the nine products, each in the image that it belongs to."""
        return (
            s[0] + w[8] * x[0][n] + w[6] * x[1][n] + w[2] * x[2][n] + w[0] * x[3][n],
            s[1] + w[7] * x[column][n] + w[1] * x[column + 2][n],
            s[2] + w[5] * x[row][n] + w[3] * x[row + 1][n],
            s[3] + w[4] * x[here][n],
        )

    @loop
    def transpose_nine(P, w, X, top, left, start, stop):
        """The transposed convolution of stride 2: X (H, C, W, N) from Y, framed by one row and one column of zeros.

        The frame lies above and to the left for an even padding, else below and to the right. `top` and `left` are
        half of the padding, rounded down. The pixels of X with even and odd row, even and odd column form four images.
        Rows start to stop of these four are computed, for two channels of Y at a time, and interleaved while in the
        cache.
        """
        (H, C, W, N), O, columns = X.shape, P.shape[1], P.shape[3] - 1  # noqa: E741
        p, per_row, per_channel = P.reshape(-1), P[0].size, P[0, 0].size
        several = max(1, BLOCK // 2 // N)
        four = np.empty((4, several * N), X.dtype)
        for q in range(start, stop):
            for first in range(0, columns, several):
                m = min(several, columns - first) * N
                z0, z1, z2, z3 = four[0, :m], four[1, :m], four[2, :m], four[3, :m]
                for c in range(C):
                    four[:] = 0
                    for o in range(0, O, 2):
                        at = q * per_row + o * per_channel + first * N
                        v, x = nine(w, o, c), four_lines(p, at, per_row, N, m)
                        if o + 1 < O:
                            u, y = nine(w, o + 1, c), four_lines(p, at + per_channel, per_row, N, m)
                            for n in range(m):
                                s = four_sums((z0[n], z1[n], z2[n], z3[n]), v, x, n)
                                z0[n], z1[n], z2[n], z3[n] = four_sums(s, u, y, n)
                        else:
                            for n in range(m):
                                z0[n], z1[n], z2[n], z3[n] = four_sums((z0[n], z1[n], z2[n], z3[n]), v, x, n)
                    for k in range(4):
                        h = 2 * (q - top) + (k // 2 ^ odd)
                        if 0 <= h < H:
                            for r in range(m // N):
                                b = 2 * (first + r - left) + (k % 2 ^ odd)
                                if 0 <= b < W:
                                    to, z = X[h, c, b], four[k, r * N : (r + 1) * N]
                                    for n in range(N):
                                        to[n] = z[n]

    return transpose_nine


transpose_nine = _transpose_nine(0), _transpose_nine(1)


# --- windows that tile the image: kernel and stride are (kh, kw), without padding -----------------


@loop
def largest_in_tiles(X, best, index, kh, kw, start, stop):
    """Rows start to stop of `best` and `index` (Ho, C, Wo, N), from X (H, C, W, N). NaN passes on."""
    _, C, Wo, N = best.shape
    for a in range(start, stop):
        for c in range(C):
            for b in range(Wo):
                y, k = best[a, c, b], index[a, c, b]
                for t in range(kh * kw):
                    x = X[a * kh + t // kw, c, b * kw + t % kw]
                    if t == 0:
                        for n in range(N):
                            y[n], k[n] = x[n], 0
                    else:
                        for n in range(N):
                            k[n] = t if x[n] > y[n] else k[n]
                            y[n] = y[n] if x[n] <= y[n] or y[n] != y[n] else x[n]


@loop
def put_into_tiles(G, index, X, kh, kw, start, stop):
    """Rows start to stop of G and `index` (Ho, C, Wo, N): each number at its place in its tile of X, else 0."""
    _, C, Wo, N = G.shape
    for a in range(start, stop):
        for c in range(C):
            for b in range(Wo):
                g, k = G[a, c, b], index[a, c, b]
                for t in range(kh * kw):
                    x = X[a * kh + t // kw, c, b * kw + t % kw]
                    for n in range(N):
                        x[n] = g[n] if k[n] == t else f(0)


@loop
def repeat_in_tiles(G, X, kh, kw, start, stop):
    """Rows start to stop of G (Ho, C, Wo, N): each number in its whole tile of X."""
    _, C, Wo, N = G.shape
    for a in range(start, stop):
        for c in range(C):
            for b in range(Wo):
                g = G[a, c, b]
                for t in range(kh * kw):
                    x = X[a * kh + t // kw, c, b * kw + t % kw]
                    for n in range(N):
                        x[n] = g[n]


@loop
def sum_of_tiles(X, Y, kh, kw, start, stop):
    """Rows start to stop of Y (Ho, C, Wo, N): the sums of the tiles of X."""
    _, C, Wo, N = Y.shape
    for a in range(start, stop):
        for c in range(C):
            for b in range(Wo):
                y = Y[a, c, b]
                for t in range(kh * kw):
                    x = X[a * kh + t // kw, c, b * kw + t % kw]
                    for n in range(N):
                        y[n] = x[n] if t == 0 else y[n] + x[n]
