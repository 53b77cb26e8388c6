/* The layers of a network, each a small function of (layer, x).

   x is {data, shape, label}: a Float32Array, the shape of one sample without the batch, and the label of a conditional
   model. `layer` has the options and the arrays of the layer, and the shape of its output. The names and formulas are those of scratchae.nn in eval mode. */

const sizeOf = (shape) => shape.reduce((product, n) => product * n, 1);
const empty = (layer) => new Float32Array(sizeOf(layer.shape));

/* The output of several layers, one after the other. */
function run(layers, data, shape, label = 0) {
  let x = { data, shape, label };
  for (const layer of layers) x = { data: LAYERS[layer.layer](layer, x), shape: layer.shape, label };
  return x.data;
}

const LAYERS = {
  /* y = x W^T + b on the last axis. */
  Linear({ weight, bias, shape }, x) {
    const outputs = shape[shape.length - 1];
    const inputs = x.shape[x.shape.length - 1];
    const y = new Float32Array(sizeOf(shape));
    for (let row = 0, at = 0; row < x.data.length; row += inputs) {
      for (let o = 0, w = 0; o < outputs; o++) {
        let sum = bias ? bias[o] : 0;
        for (let i = 0; i < inputs; i++) sum += weight[w++] * x.data[row + i];
        y[at++] = sum;
      }
    }
    return y;
  },

  /* Cross-correlation: each tap of the kernel adds one shifted, weighted copy of an input channel. */
  Conv2d(layer, x) {
    const [outputs, height, width] = layer.shape;
    const [channels, rows, columns] = x.shape;
    const y = filled(layer.bias, outputs, height * width);
    const perGroup = channels / layer.groups;
    eachTap(layer, outputs, perGroup, (o, i, ky, kx, w) => {
      const source = (Math.floor((o * layer.groups) / outputs) * perGroup + i) * rows * columns;
      const [down, from, to] = reach(layer, 0, ky, rows, height);
      const [across, left, right] = reach(layer, 1, kx, columns, width);
      const [sy, sx] = layer.stride;
      for (let r = from; r < to; r++) {
        const out = (o * height + r) * width;
        const into = source + (r * sy + down) * columns + across;
        for (let c = left; c < right; c++) y[out + c] += w * x.data[into + c * sx];
      }
    });
    return y;
  },

  /* The reverse of Conv2d: each tap adds a weighted input channel to every stride-th output. */
  ConvTranspose2d(layer, x) {
    const [outputs, height, width] = layer.shape;
    const [channels, rows, columns] = x.shape;
    const y = filled(layer.bias, outputs, height * width);
    const perGroup = outputs / layer.groups;
    eachTap(layer, channels, perGroup, (i, o, ky, kx, w) => {
      const target = (Math.floor((i * layer.groups) / channels) * perGroup + o) * height * width;
      const [down, from, to] = reach(layer, 0, ky, height, rows);
      const [across, left, right] = reach(layer, 1, kx, width, columns);
      const [sy, sx] = layer.stride;
      for (let r = from; r < to; r++) {
        const into = (i * rows + r) * columns;
        const out = target + (r * sy + down) * width + across;
        for (let c = left; c < right; c++) y[out + c * sx] += w * x.data[into + c];
      }
    });
    return y;
  },

  MaxPool2d(layer, x) {
    const y = empty(layer).fill(-Infinity);
    eachWindow(layer, x, (out, into) => {
      if (x.data[into] > y[out]) y[out] = x.data[into];
    });
    return y;
  },

  /* The mean of each window, in which zeros of the padding count. */
  AvgPool2d(layer, x) {
    const y = empty(layer);
    const share = 1 / sizeOf(layer.kernel);
    eachWindow(layer, x, (out, into) => {
      y[out] += share * x.data[into];
    });
    return y;
  },

  Conv1d: ofSeries("Conv2d"),
  ConvTranspose1d: ofSeries("ConvTranspose2d"),
  MaxPool1d: ofSeries("MaxPool2d"),
  AvgPool1d: ofSeries("AvgPool2d"),

  /* Repeated pixels, or linear interpolation between pixel centres. */
  Upsample(layer, x) {
    const y = empty(layer);
    const [, rows, columns] = x.shape;
    const [down, across] = layer.scale.map((scale, i) => neighbours(x.shape[i + 1], scale, layer.mode));
    let at = 0;
    for (let c = 0; c < layer.shape[0]; c++) {
      for (const [r0, r1, fr] of down) {
        const top = (c * rows + r0) * columns;
        const bottom = (c * rows + r1) * columns;
        for (const [c0, c1, fc] of across) {
          const above = x.data[top + c0] * (1 - fc) + x.data[top + c1] * fc;
          const below = x.data[bottom + c0] * (1 - fc) + x.data[bottom + c1] * fc;
          y[at++] = above * (1 - fr) + below * fr;
        }
      }
    }
    return y;
  },

  /* (C f f, H, W) to (C, H f, W f). */
  PixelShuffle(layer, x) {
    const y = empty(layer);
    shuffle(layer.factor, layer.shape, (large, small) => {
      y[large] = x.data[small];
    });
    return y;
  },

  PixelUnshuffle(layer, x) {
    const y = empty(layer);
    shuffle(layer.factor, x.shape, (large, small) => {
      y[small] = x.data[large];
    });
    return y;
  },

  Reshape: (layer, x) => x.data,

  BatchNorm: ({ scale, shift }, x) => perChannel(x.data, scale, shift),

  LayerNorm({ scale, shift, eps }, x) {
    const n = scale.length;
    return normalised(x.data, n, eps).map((v, i) => v * scale[i % n] + shift[i % n]);
  },

  /* The scale and the shift are null without `affine`. */
  GroupNorm({ groups, scale, shift, eps }, x) {
    const y = normalised(x.data, x.data.length / groups, eps);
    return scale ? perChannel(y, scale, shift) : y;
  },

  /* x + net(x) */
  Residual({ net }, x) {
    const change = run(net, x.data, x.shape, x.label);
    return x.data.map((v, i) => v + change[i]);
  },

  /* x + table[label], with one number of the row for each feature or channel. */
  LabelBias({ table, shape: [features] }, { data, label }) {
    const each = data.length / features;
    return data.map((v, i) => v + table[label * features + Math.floor(i / each)]);
  },

  Softmax({ dim, shape }, x) {
    const y = new Float32Array(x.data.length);
    const n = shape[dim];
    const inner = sizeOf(shape.slice(dim + 1));
    for (let start = 0; start < y.length; start++) {
      if (Math.floor(start / inner) % n) continue; // each start is the first element of its row
      let largest = -Infinity;
      let sum = 0;
      for (let i = 0; i < n; i++) largest = Math.max(largest, x.data[start + i * inner]);
      for (let i = 0; i < n; i++) sum += Math.exp(x.data[start + i * inner] - largest);
      for (let i = 0; i < n; i++) y[start + i * inner] = Math.exp(x.data[start + i * inner] - largest) / sum;
    }
    return y;
  },

  ReLU: (layer, x) => x.data.map((v) => Math.max(v, 0)),
  LeakyReLU: ({ negative_slope }, x) => x.data.map((v) => (v > 0 ? v : negative_slope * v)),
  ELU: ({ alpha }, x) => x.data.map((v) => (v > 0 ? v : alpha * Math.expm1(v))),
  GELU: (layer, x) => x.data.map((v) => (v * (1 + erf(v / Math.SQRT2))) / 2),
  SiLU: (layer, x) => x.data.map((v) => v / (1 + Math.exp(-v))),
  Hardtanh: ({ min_val, max_val }, x) => x.data.map((v) => Math.min(Math.max(v, min_val), max_val)),
  Sigmoid: (layer, x) => x.data.map((v) => 1 / (1 + Math.exp(-v))),
  ContinuousBernoulliMean: (layer, x) =>
    x.data.map((v) => {
      const p = Math.min(Math.max(v, 2 ** -126), 1 - 2 ** -24);
      const logOdds = Math.log(p) - Math.log1p(-p);
      return Math.abs(logOdds) < 1e-4 ? 0.5 + logOdds / 12 : -1 / Math.expm1(-logOdds) - 1 / logOdds;
    }),
  Tanh: (layer, x) => x.data.map(Math.tanh),
  Softplus: (layer, x) => x.data.map((v) => Math.max(v, 0) + Math.log1p(Math.exp(-Math.abs(v)))),
};

/* --- parts of the layers ---------------------------------------------------------------------- */

/* `channels` channels of `n` numbers, each filled with its bias. */
function filled(bias, channels, n) {
  const y = new Float32Array(channels * n);
  if (bias) for (let c = 0; c < channels; c++) y.fill(bias[c], c * n, (c + 1) * n);
  return y;
}

/* Every weight of a kernel (first, second, kh, kw). */
function eachTap({ weight, kernel }, first, second, use) {
  let at = 0;
  for (let a = 0; a < first; a++) {
    for (let b = 0; b < second; b++) {
      for (let ky = 0; ky < kernel[0]; ky++) {
        for (let kx = 0; kx < kernel[1]; kx++) use(a, b, ky, kx, weight[at++]);
      }
    }
  }
}

/* Along an axis, tap k of output r reads the input r * stride + shift: [shift, first r inside, end of r]. */
function reach({ stride, pad, dilation }, axis, k, inputs, outputs) {
  const shift = dilation[axis] * k - pad[axis];
  const first = Math.max(0, Math.ceil(-shift / stride[axis]));
  return [shift, first, Math.min(outputs, Math.floor((inputs - 1 - shift) / stride[axis]) + 1)];
}

/* Every element of every window of a pool, as places in the output and in the input. */
function eachWindow(layer, x, use) {
  const [channels, height, width] = layer.shape;
  const [, rows, columns] = x.shape;
  const [sy, sx] = layer.stride;
  for (let ky = 0; ky < layer.kernel[0]; ky++) {
    const [down, from, to] = reach(layer, 0, ky, rows, height);
    for (let kx = 0; kx < layer.kernel[1]; kx++) {
      const [across, left, right] = reach(layer, 1, kx, columns, width);
      for (let c = 0; c < channels; c++) {
        for (let r = from; r < to; r++) {
          const into = (c * rows + r * sy + down) * columns + across;
          for (let i = left; i < right; i++) use((c * height + r) * width + i, into + i * sx);
        }
      }
    }
  }
}

/* A layer of images for series (C, L), which are images of height 1. */
function ofSeries(name) {
  const high = ([channels, length]) => [channels, 1, length];
  return (layer, x) => LAYERS[name]({ ...layer, shape: high(layer.shape) }, { data: x.data, shape: high(x.shape) });
}

/* One factor and one shift for each channel. */
function perChannel(data, scale, shift) {
  const each = data.length / scale.length;
  return data.map((v, i) => v * scale[Math.floor(i / each)] + shift[Math.floor(i / each)]);
}

/* Every n numbers with their mean taken away, divided by the root of their variance plus eps. */
function normalised(data, n, eps) {
  const y = new Float32Array(data.length);
  for (let at = 0; at < y.length; at += n) {
    const row = data.subarray(at, at + n);
    const mean = row.reduce((sum, v) => sum + v, 0) / n;
    const variance = row.reduce((sum, v) => sum + (v - mean) ** 2, 0) / n;
    const factor = 1 / Math.sqrt(variance + eps);
    for (let i = 0; i < n; i++) y[at + i] = (row[i] - mean) * factor;
  }
  return y;
}

/* For each pixel along an axis of the larger image: its two neighbours in the smaller one, and the second's weight. */
function neighbours(n, scale, mode) {
  return Array.from({ length: n * scale }, (_, i) => {
    if (mode === "nearest") return [Math.floor(i / scale), Math.floor(i / scale), 0];
    const centre = Math.min(Math.max((i + 0.5) / scale - 0.5, 0), n - 1);
    const before = Math.floor(centre);
    return [before, Math.min(before + 1, n - 1), centre - before];
  });
}

/* Every pixel of a large image (C, H f, W f), and its place among the channels of the small one (C f f, H, W). */
function shuffle(f, [channels, height, width], use) {
  const [rows, columns] = [height / f, width / f];
  for (let c = 0, at = 0; c < channels; c++) {
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const channel = (c * f + (y % f)) * f + (x % f);
        use(at++, (channel * rows + Math.floor(y / f)) * columns + Math.floor(x / f));
      }
    }
  }
}

/* The error function, to 1.5e-7: Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26. */
function erf(x) {
  const t = 1 / (1 + 0.3275911 * Math.abs(x));
  const series = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t;
  return Math.sign(x) * (1 - series * Math.exp(-x * x));
}
