/* The arrays of the page, and arithmetic on codes. */

/* The model's description, in which each place of an array becomes the array: Float32Array, or integers. */
function unpacked(described, base64) {
  const text = atob(base64);
  const bytes = Uint8Array.from({ length: text.length }, (_, i) => text.charCodeAt(i));
  const halves = tableOfHalves();
  const arrays = {
    float32: (at, size) => new Float32Array(bytes.buffer, at, size),
    float16: (at, size) => Float32Array.from(new Uint16Array(bytes.buffer, at, size), (bits) => halves[bits]),
    uint32: (at, size) => new Uint32Array(bytes.buffer, at, size),
    uint8: (at, size) => new Uint8Array(bytes.buffer, at, size),
  };
  const filled = (value) => {
    if (Array.isArray(value)) return value.map(filled);
    if (value === null || typeof value !== "object") return value;
    if (value.type in arrays) return arrays[value.type](value.at, value.size);
    return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, filled(one)]));
  };
  return filled(described);
}

/* The number of each of the 65,536 patterns of float16: a sign, 5 bits of exponent, 10 bits of fraction. */
function tableOfHalves() {
  return Float32Array.from({ length: 65536 }, (_, bits) => {
    const sign = bits & 0x8000 ? -1 : 1;
    const exponent = (bits >> 10) & 31;
    const fraction = (bits & 1023) / 1024;
    if (exponent === 31) return fraction ? NaN : sign * Infinity;
    return sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction) : 2 ** -14 * fraction);
  });
}

function dot(a, b, from = 0) {
  let sum = 0;
  for (let i = 0; i < b.length; i++) sum += a[from + i] * b[i];
  return sum;
}

/* Mean squared difference, as `reconstruction_error` of the package. */
function meanSquare(a, b) {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += (a[i] - b[i]) ** 2;
  return sum / a.length;
}

const mix = (a, b, share) => a.map((v, i) => v + share * (b[i] - v));
const clamp = (v, low, high) => Math.min(Math.max(v, low), high);

/* The directions of a code space along which one can walk: its units first by how much they tell, then its principal
   axes. The place of a code along a direction is vector . code - offset. */
function directionsOf(model) {
  const { units, axes } = model;
  const centre = units.centre;
  const range = (from, i) => ({ low: from.low[i], high: from.high[i], from: from.from[i], to: from.to[i] });
  const order = Array.from(centre, (_, i) => i);
  if (units.scores) order.sort((a, b) => units.scores[b] - units.scores[a]);
  const measures = { nats: (s) => `${number(s)} nats`, variance: (s) => `variance ${number(s)}` };
  const found = order.map((i) => ({
    id: `unit ${i + 1}`,
    kind: "unit",
    unit: i,
    offset: 0,
    ...range(units, i),
    vector: Float32Array.from(centre, (_, j) => Number(i === j)),
    note: units.scores ? measures[units.measure](units.scores[i]) : "",
  }));
  const shares = axes ? Array.from(axes.share) : [];
  return found.concat(
    shares.map((share, i) => {
      const vector = axes.vectors.subarray(i * centre.length, (i + 1) * centre.length);
      const note = `share ${Math.round(100 * share)} %`;
      return { id: `axis ${i + 1}`, kind: "axis", vector, offset: dot(centre, vector), ...range(axes, i), note };
    }),
  );
}

const placeOf = (direction, code, from = 0) => dot(code, direction.vector, from) - direction.offset;

/* The code nearest to `code` whose place along one direction, or along two, is given. */
function movedTo(code, directions, places) {
  const [a, b] = directions;
  const moved = Float32Array.from(code);
  let step = places[0] - placeOf(a, code);
  if (b) {
    const common = dot(a.vector, b.vector);
    const other = places[1] - placeOf(b, code);
    const rest = 1 - common * common;
    const along = (other - common * step) / rest;
    step = (step - common * other) / rest;
    for (let i = 0; i < moved.length; i++) moved[i] += along * b.vector[i];
  }
  for (let i = 0; i < moved.length; i++) moved[i] += step * a.vector[i];
  return moved;
}

/* The item whose code is nearest: [its number, the distance]. */
function nearest(codes, code, allowed) {
  let best = -1;
  let least = Infinity;
  for (let item = 0, at = 0; at < codes.length; item++, at += code.length) {
    if (!allowed(item)) continue;
    let sum = 0;
    for (let i = 0; i < code.length && sum < least; i++) sum += (codes[at + i] - code[i]) ** 2;
    if (sum < least) [best, least] = [item, sum];
  }
  return [best, Math.sqrt(least)];
}

/* A draw from N(0, 1), by Box and Muller. */
const normal = () => Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());

/* A number for a person, with a true minus: two decimal places, or three digits. */
function number(v) {
  const places = Math.abs(v) < 10 ? 2 : Math.abs(v) < 100 ? 1 : 0;
  return v
    .toFixed(places)
    .replace(/^-0\.00$/, "0.00")
    .replace("-", "\u2212");
}
const digits = (v) => Number(v.toPrecision(3)).toString().replace("-", "\u2212");
