/* Pictures and charts of data, and the colours of the page. */

/* Ten colours for each theme. Two of them are at least 0.095 apart in OKLab, for normal sight and for protanopia,
   deuteranopia and tritanopia (simulated as in Machado et al. 2009). */
const COLOURS = {
  light: ["#0a3ac6", "#fcaa2b", "#12deaa", "#a11a79", "#0699ce", "#f23a73", "#7f6d1b", "#bab4fb", "#6d2c13", "#7d5af5"],
  dark: ["#358ab2", "#f6c383", "#9cfee5", "#de297b", "#5ac7c3", "#fa7873", "#d6fc07", "#a298f2", "#b56d13", "#9e51e8"],
};
const SCALES = {
  light: ["#440154", "#443983", "#31688e", "#21918c", "#35b779", "#90d743"], // viridis without its lightest part
  dark: ["#7a6fd0", "#4f8fc4", "#2ba7a0", "#35b779", "#90d743", "#fde725"], // and without its darkest
};

const theme = () => document.documentElement.dataset.theme;
const colourOf = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

const rgbOf = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));

/* The colour of a share from 0 to 1 of a scale. */
function scaleColour(share) {
  const scale = SCALES[theme()];
  const at = clamp(share, 0, 1) * (scale.length - 1);
  const [from, to] = [Math.floor(at), Math.ceil(at)].map((i) => rgbOf(scale[i]));
  return `rgb(${mix(from, to, at % 1)
    .map(Math.round)
    .join(" ")})`;
}

/* Give a canvas one pixel for each pixel of the screen. Returns [context, width, height] in CSS pixels. */
function fitted(canvas) {
  const { width, height } = canvas.getBoundingClientRect();
  const zoom = window.devicePixelRatio || 1;
  const [w, h] = [Math.round(width * zoom), Math.round(height * zoom)];
  if (canvas.width !== w || canvas.height !== h) Object.assign(canvas, { width: w, height: h });
  const context = canvas.getContext("2d");
  context.setTransform(zoom, 0, 0, zoom, 0, 0);
  return [context, width, height];
}

/* Paints the data of one model: pictures, or charts of other data. */
function makePainter(model) {
  const {
    picture,
    range: [low, high],
    features,
  } = model;
  const n = sizeOf(model.shape);

  /* One picture as a canvas of its own size. With `ink`, dark is transparent and light is this colour. */
  function canvasOf(values, ink) {
    const [channels, height, width] = picture;
    const canvas = Object.assign(document.createElement("canvas"), { width, height });
    const context = canvas.getContext("2d");
    const image = context.createImageData(width, height);
    const grey = (i) => 255 * ((values[i] - low) / (high - low));
    for (let i = 0; i < width * height; i++) {
      const [r, g, b] = [0, 1, 2].map((c) => grey(channels === 3 ? i + c * width * height : i));
      image.data.set(ink ? [...ink, r] : [r, g, b, 255], 4 * i);
    }
    context.putImageData(image, 0, 0);
    return canvas;
  }

  /* Fill a box with a picture, in whole pixels, or with a chart. */
  function paint(context, values, x, y, width, height) {
    if (picture) {
      const source = canvasOf(values);
      const zoom = Math.min(width / source.width, height / source.height);
      const [w, h] = [source.width * zoom, source.height * zoom];
      context.imageSmoothingEnabled = zoom < 2;
      context.drawImage(source, x + (width - w) / 2, y + (height - h) / 2, w, h);
    } else if (n <= 30) bars(context, values, x, y, width, height);
    else line(context, values, x, y, width, height);
  }

  const level = (v, height) => height * (1 - 0.08 - 0.84 * clamp((v - low) / (high - low), -0.09, 1.09));
  const baseline = () => clamp(0, low, high);

  function bars(context, values, x, y, width, height) {
    const named = width >= 160 && height >= 9 * n;
    context.font = "12px system-ui, sans-serif";
    context.fillStyle = colourOf("muted");
    if (!named) {
      const zero = y + level(baseline(), height);
      context.fillRect(x, zero, width, 1);
      context.fillStyle = colourOf("accent");
      values.forEach((v, i) => {
        const top = y + level(v, height);
        const [left, tall] = [x + ((i + 0.12) * width) / n, Math.max(1, Math.abs(zero - top))];
        context.fillRect(left, Math.min(top, zero), (0.76 * width) / n, tall);
      });
      return;
    }
    const labels = Array.from(values, (_, i) => (features ? features[i] : `${i + 1}`));
    const left = Math.min(0.4 * width, 8 + Math.max(...labels.map((l) => context.measureText(l).width)));
    const across = (v) => x + left + (width - left - 44) * clamp((v - low) / (high - low), 0, 1);
    const row = height / n;
    context.textBaseline = "middle";
    values.forEach((v, i) => {
      const middle = y + (i + 0.5) * row;
      context.fillStyle = colourOf("muted");
      context.textAlign = "right";
      context.fillText(labels[i], x + left - 6, middle, left - 6);
      context.textAlign = "left";
      context.fillText(digits(v), Math.max(across(v), across(baseline())) + 5, middle);
      context.fillStyle = colourOf("accent");
      const [from, to] = [across(baseline()), across(v)];
      context.fillRect(Math.min(from, to), middle - 0.34 * row, Math.max(1, Math.abs(to - from)), 0.68 * row);
    });
  }

  function line(context, values, x, y, width, height) {
    context.fillStyle = colourOf("line");
    context.fillRect(x, y + level(baseline(), height), width, 1);
    context.strokeStyle = colourOf("accent");
    context.lineWidth = width > 120 ? 1.8 : 1.1;
    context.lineJoin = "round";
    context.beginPath();
    values.forEach((v, i) => context.lineTo(x + (width * i) / (n - 1), y + level(v, height)));
    context.stroke();
    if (!features || width < 160) return;
    context.font = "12px system-ui, sans-serif";
    context.fillStyle = colourOf("muted");
    context.textBaseline = "bottom";
    for (const [i, align] of [
      [0, "left"],
      [n - 1, "right"],
    ]) {
      context.textAlign = align;
      context.fillText(features[i], x + (width * i) / (n - 1), y + height);
    }
  }

  /* The value that a height in a chart stands for; the reverse of `level`. */
  const valueAt = (share) => low + (high - low) * ((1 - share - 0.08) / 0.84);

  return { paint, canvasOf, valueAt };
}

/* The mark of a class: a circle, a square, a triangle or a diamond, at [x, y]. */
function mark(context, shape, x, y, r) {
  context.beginPath();
  if (shape === 0) context.arc(x, y, r, 0, 2 * Math.PI);
  else if (shape === 1) context.rect(x - 0.88 * r, y - 0.88 * r, 1.76 * r, 1.76 * r);
  else {
    const corners = shape === 2 ? 3 : 4;
    for (let i = 0; i < corners; i++) {
      const angle = (2 * Math.PI * i) / corners - Math.PI / 2;
      context.lineTo(x + 1.25 * r * Math.cos(angle), y + 1.25 * r * Math.sin(angle));
    }
    context.closePath();
  }
}
