/* The map: codes as points in a plane of the code space, over decoded pictures of the plane, with a cursor. */

const TILE = 46; // pixels of the screen that a decoded picture takes, up to a factor of 1.41

function makeMap(page) {
  const { model, painter, element } = page;
  const { items } = model;
  const canvas = element("map");
  const size = sizeOf(model.code.shape);
  const view = { x: 0, y: 0, scale: 1 }; // the place in the middle, and pixels per unit
  let seen = 0; // pixels of the shorter side at that scale
  const tiles = new Map(); // decoded pictures by their place, and the slice of the code space that they show
  let places = new Float32Array(0); // of all items: x, y, x, y, ...
  let slice = 0;
  let working = false;
  let dots = null; // the points, drawn once for each view

  const planeOf = (code, from = 0) => page.plane.map((d) => (d ? placeOf(d, code, from) : 0));
  const toScreen = ([x, y], w, h) => [w / 2 + (x - view.x) * view.scale, h / 2 - (y - view.y) * view.scale];
  const toPlane = ([sx, sy], w, h) => [view.x + (sx - w / 2) / view.scale, view.y - (sy - h / 2) / view.scale];
  const box = () => canvas.getBoundingClientRect();

  /* --- the view ------------------------------------------------------------------------------ */

  function newPlane() {
    if (items) {
      places = new Float32Array(2 * items.errors.length);
      for (let i = 0; i < items.errors.length; i++) places.set(planeOf(items.codes, i * size), 2 * i);
    }
    tiles.clear();
    fit();
  }

  function fit() {
    const { width, height } = box();
    const [a, b] = page.plane;
    const spans = [a, b || a].map((d) => [d.low, d.high]);
    const [w, h] = spans.map(([low, high]) => high - low);
    view.scale = Math.min(width / w, height / h) || 1;
    seen = Math.min(width, height);
    Object.assign(view, { x: (spans[0][0] + spans[0][1]) / 2, y: b ? (spans[1][0] + spans[1][1]) / 2 : 0 });
    changed();
  }

  /* Show the same part of the plane in a box of another size. */
  function resized() {
    const { width, height } = box();
    const side = Math.min(width, height);
    if (!seen) return fit();
    view.scale *= side ? side / seen : 1;
    seen = side || seen;
    changed();
  }

  function zoom(factor, around) {
    const { width, height } = box();
    const point = around || [width / 2, height / 2];
    const [x, y] = toPlane(point, width, height);
    view.scale = clamp(view.scale * factor, 1e-6, 1e9);
    view.x = x - (point[0] - width / 2) / view.scale;
    view.y = y + (point[1] - height / 2) / view.scale;
    changed();
  }

  function pan(dx, dy) {
    view.x -= dx / view.scale;
    view.y += dy / view.scale;
    changed();
  }

  function changed() {
    dots = null;
    page.refresh();
  }

  /* --- the background ------------------------------------------------------------------------ */

  const step = () => 2 ** Math.round(Math.log2(TILE / view.scale));

  /* Centres of the tiles in view, nearest to the middle first. A tile keeps its place when the map moves. */
  function centres(w, h) {
    const s = step();
    const [[left, top], [right, bottom]] = [toPlane([0, 0], w, h), toPlane([w, h], w, h)];
    const found = [];
    const rows = page.plane[1] ? [Math.floor(bottom / s), Math.ceil(top / s)] : [0, 0];
    for (let i = Math.floor(left / s); i <= Math.ceil(right / s); i++) {
      for (let j = rows[0]; j <= rows[1]; j++) found.push([i * s, j * s]);
    }
    const distance = ([x, y]) => (x - view.x) ** 2 + (y - view.y) ** 2;
    return found.sort((a, b) => distance(a) - distance(b));
  }

  const key = ([x, y]) => `${x},${y}`;
  const inks = { light: [70, 78, 90], dark: [200, 206, 216] };

  function makeTile(place) {
    const values = page.decode(movedTo(page.code, page.plane, place));
    if (model.picture) return painter.canvasOf(values, page.dark && inks[theme()]);
    const zoomed = 2;
    const tile = Object.assign(document.createElement("canvas"), { width: TILE * zoomed, height: TILE * zoomed });
    const context = tile.getContext("2d");
    context.scale(zoomed, zoomed);
    painter.paint(context, values, 3, 3, TILE - 6, TILE - 6);
    return tile;
  }

  /* Decode missing tiles for a few milliseconds, and go on later. A cursor that moves has priority. */
  function work() {
    working = false;
    if (!element("tiles").checked) return;
    const { width, height } = box();
    const until = performance.now() + (page.dragging ? 4 : 12);
    if (tiles.size > 6000) tiles.clear();
    for (const place of centres(width, height)) {
      if (tiles.get(key(place))?.slice === slice) continue;
      if (page.dragging && page.cost > 4) return;
      if (performance.now() > until) return later();
      tiles.set(key(place), { picture: makeTile(place), slice });
      page.refresh();
    }
  }

  function later() {
    if (!working) setTimeout(work, 0);
    working = true;
  }

  function drawTiles(context, w, h) {
    context.globalAlpha = model.picture && page.dark ? 0.5 : model.picture ? 0.45 : 0.55;
    const side = step() * view.scale;
    const [, rows, columns] = model.picture || [1, 1, 1];
    const [tw, th] = [columns, rows].map((n) => (0.92 * side * n) / Math.max(rows, columns));
    let complete = true;
    for (const place of centres(w, h)) {
      const tile = tiles.get(key(place));
      if (!tile || tile.slice !== slice) complete = false;
      if (!tile) continue;
      const [x, y] = toScreen(place, w, h);
      context.drawImage(tile.picture, x - tw / 2, y - th / 2, tw, th);
    }
    context.globalAlpha = 1;
    if (!complete) later();
  }

  /* --- points and axes ----------------------------------------------------------------------- */

  function drawDots(w, h) {
    const layer = Object.assign(document.createElement("canvas"), { width: canvas.width, height: canvas.height });
    const context = layer.getContext("2d");
    context.scale(canvas.width / w, canvas.height / h);
    const r = clamp(0.2 * Math.sqrt((w * h) / places.length), 1.8, 5);
    context.lineWidth = 0.4 * r;
    context.strokeStyle = colourOf("surface");
    for (let i = 0; i < places.length / 2; i++) {
      if (!page.allowed(i)) continue;
      const [x, y] = toScreen([places[2 * i], places[2 * i + 1]], w, h);
      if (x < -9 || y < -9 || x > w + 9 || y > h + 9) continue;
      const { colour, shape } = page.markOf(i);
      mark(context, shape, x, y, r);
      context.fillStyle = colour;
      context.stroke();
      context.fill();
    }
    return layer;
  }

  /* Numbers at the left and the lower edge, at steps of 1, 2 or 5 times a power of ten. */
  function drawAxes(context, w, h) {
    const raw = 90 / view.scale;
    const power = 10 ** Math.floor(Math.log10(raw));
    const s = power * [1, 2, 5, 10].find((f) => f * power >= raw);
    const decimals = Math.max(0, -Math.floor(Math.log10(s) + 1e-9));
    const [left, top] = toPlane([0, 0], w, h);
    const [right, bottom] = toPlane([w, h], w, h);
    context.font = "11px system-ui, sans-serif";
    context.lineWidth = 3;
    context.strokeStyle = colourOf("surface");
    context.fillStyle = colourOf("muted");
    const text = (v, x, y, align, base) => {
      Object.assign(context, { textAlign: align, textBaseline: base });
      const shown = v.toFixed(decimals).replace("-", "\u2212");
      context.strokeText(shown, x, y);
      context.fillText(shown, x, y);
    };
    for (let i = Math.ceil(left / s); i * s <= right; i++) {
      const place = toScreen([i * s, 0], w, h)[0];
      if (place > 30 && place < w - 14) text(i * s + 0, place, h - 5, "center", "bottom");
    }
    if (!page.plane[1]) return;
    for (let i = Math.ceil(bottom / s); i * s <= top; i++) {
      const place = toScreen([0, i * s], w, h)[1];
      if (place > 14 && place < h - 24) text(i * s + 0, 6, place, "left", "middle");
    }
  }

  function drawCursor(context, w, h) {
    const [x, y] = toScreen(planeOf(page.code), w, h);
    for (const [colour, width] of [
      [colourOf("surface"), 5],
      [colourOf("ink"), 2],
    ]) {
      context.strokeStyle = colour;
      context.lineWidth = width;
      context.beginPath();
      context.arc(x, y, 9, 0, 2 * Math.PI);
      for (const [dx, dy] of [
        [1, 0],
        [-1, 0],
        [0, 1],
        [0, -1],
      ]) {
        context.moveTo(x + 9 * dx, y + 9 * dy);
        context.lineTo(x + 15 * dx, y + 15 * dy);
      }
      context.stroke();
    }
  }

  function drawPath(context, w, h) {
    const ends = page.ends.filter(Boolean).map((code) => toScreen(planeOf(code), w, h));
    context.strokeStyle = colourOf("ink");
    context.lineWidth = 2;
    context.setLineDash([2, 5]);
    context.lineCap = "round";
    context.beginPath();
    for (const end of ends) context.lineTo(...end);
    context.stroke();
    context.setLineDash([]);
    context.font = "bold 12px system-ui, sans-serif";
    Object.assign(context, { textAlign: "center", textBaseline: "middle" });
    page.ends.forEach((code, i) => {
      if (!code) return;
      const [x, y] = toScreen(planeOf(code), w, h);
      context.fillStyle = colourOf("ink");
      context.beginPath();
      context.arc(x, y, 10, 0, 2 * Math.PI);
      context.fill();
      context.fillStyle = colourOf("surface");
      context.fillText("AB"[i], x, y + 0.5);
    });
  }

  function draw() {
    const [context, w, h] = fitted(canvas);
    if (!w || !h) return;
    context.clearRect(0, 0, w, h);
    if (element("tiles").checked) drawTiles(context, w, h);
    if (items && element("dots").checked) {
      if (!dots || dots.width !== canvas.width || dots.height !== canvas.height) dots = drawDots(w, h);
      context.drawImage(dots, 0, 0, w, h);
    }
    drawAxes(context, w, h);
    drawPath(context, w, h);
    drawCursor(context, w, h);
  }

  /* --- places --------------------------------------------------------------------------------- */

  /* The point at a place of the screen, or -1. */
  function pointAt([sx, sy], within) {
    if (!items || !element("dots").checked) return -1;
    const { width, height } = box();
    let [best, least] = [-1, within ** 2];
    for (let i = 0; i < places.length / 2; i++) {
      if (!page.allowed(i)) continue;
      const [x, y] = toScreen([places[2 * i], places[2 * i + 1]], width, height);
      const distance = (x - sx) ** 2 + (y - sy) ** 2;
      if (distance < least) [best, least] = [i, distance];
    }
    return best;
  }

  function walk(point) {
    const { width, height } = box();
    page.moveTo(movedTo(page.code, page.plane, toPlane(point, width, height)));
  }

  const choose = (item) => page.moveTo(items.codes.slice(item * size, (item + 1) * size), item);

  /* The place of the cursor, or of an item, on the screen. */
  function onScreen(item = -1) {
    const { width, height } = box();
    return toScreen(item < 0 ? planeOf(page.code) : [places[2 * item], places[2 * item + 1]], width, height);
  }

  return {
    draw,
    newPlane,
    fit,
    resized,
    zoom,
    pan,
    changed,
    later,
    pointAt,
    walk,
    choose,
    onScreen,
    box,
    recolour: () => {
      tiles.clear();
      changed();
    },
    newSlice: () => {
      slice++;
    },
  };
}
