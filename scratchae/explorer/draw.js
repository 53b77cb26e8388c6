/* Drawing: an input of one's own is encoded, decoded, and placed among the data by its reconstruction error. */

function makeDrawing(page) {
  const { model, painter, element } = page;
  const {
    picture,
    range: [low, high],
    noise,
    items,
  } = model;
  const paper = element("paper");
  const n = sizeOf(model.shape);
  const drawn = new Float32Array(n).fill(picture ? low : clamp(0, low, high));
  const pattern = { normal: Float32Array.from(drawn, normal), uniform: Float32Array.from(drawn, Math.random) };
  let error = null;
  let last = null; // the place of the pen

  /* --- the pen ------------------------------------------------------------------------------- */

  /* The pen's colour, as one value for each channel. */
  function ink() {
    if (element("eraser").checked) return [low, low, low];
    return rgbOf(element("ink").value).map((v) => low + ((high - low) * v) / 255);
  }

  /* A round stroke from a to b, in pixels of the picture. Its edge is one pixel wide. */
  function stroke(a, b) {
    const [channels, height, width] = picture;
    const radius = (Number(element("pen").value) * Math.max(height, width)) / 28;
    const colour = ink();
    const [dx, dy] = [b[0] - a[0], b[1] - a[1]];
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const [px, py] = [x + 0.5 - a[0], y + 0.5 - a[1]];
        const along = clamp((px * dx + py * dy) / (dx * dx + dy * dy || 1), 0, 1);
        const cover = clamp(radius + 0.5 - Math.hypot(px - along * dx, py - along * dy), 0, 1);
        if (!cover) continue;
        for (let c = 0; c < channels; c++) {
          const i = (c * height + y) * width + x;
          const mixed = drawn[i] + cover * (colour[c] - drawn[i]);
          const light = channels === 1 && !element("eraser").checked;
          drawn[i] = light ? Math.max(drawn[i], low + cover * (colour[c] - low)) : mixed;
        }
      }
    }
  }

  /* A curve or a bar takes the height of the pen. */
  function bend(a, b) {
    const [from, to] = a[0] <= b[0] ? [a, b] : [b, a];
    for (let i = Math.floor(from[0]); i <= Math.min(Math.floor(to[0]), n - 1); i++) {
      const share = clamp((i + 0.5 - from[0]) / (to[0] - from[0] || 1), 0, 1);
      if (i >= 0) drawn[i] = clamp(painter.valueAt(from[1] + share * (to[1] - from[1])), low, high);
    }
  }

  function penAt(event) {
    const { left, top, width, height } = paper.getBoundingClientRect();
    const [x, y] = [(event.clientX - left) / width, (event.clientY - top) / height];
    if (!picture) return [x * n, y];
    const [, rows, columns] = picture;
    const zoom = Math.min(width / columns, height / rows); // the picture is in the middle of the paper
    return [((x - 0.5) * width) / zoom + columns / 2, ((y - 0.5) * height) / zoom + rows / 2];
  }

  /* The way of the pen since the last frame. The model runs once for all of its places. */
  function draw(...events) {
    for (const place of events.map(penAt)) {
      (picture ? stroke : bend)(last || place, place);
      last = place;
    }
    changed();
  }

  paper.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    paper.setPointerCapture(event.pointerId);
    last = null;
    draw(event);
  });
  paper.addEventListener("pointermove", (event) => {
    if (paper.hasPointerCapture(event.pointerId)) draw(...(event.getCoalescedEvents?.() || [event]));
  });
  paper.addEventListener("lostpointercapture", () => {
    last = null;
  });

  /* --- what the model makes of it ------------------------------------------------------------ */

  function noisy() {
    const amount = Number(element("noise").value);
    if (!noise || !amount) return drawn;
    const rules = {
      gaussian: (v, i) => v + amount * pattern.normal[i],
      masking: (v, i) => (pattern.uniform[i] < amount ? 0 : v),
      salt_and_pepper: (v, i) => (pattern.uniform[i] < amount / 2 ? 0 : pattern.uniform[i] < amount ? 1 : v),
    };
    const damaged = drawn.map(rules[noise.kind]);
    return noise.kind === "gaussian" && noise.clip ? damaged.map((v) => clamp(v, 0, 1)) : damaged;
  }

  /* The cursor moves to the code of the drawing. */
  function changed() {
    const code = page.encode(noisy());
    error = meanSquare(page.decode(code), drawn);
    page.moveTo(code, -1, true);
  }

  function show() {
    if (page.tab !== "draw") return;
    const shown = [
      [paper, drawn],
      [element("redrawn"), error === null ? null : page.decoded],
    ];
    if (noise) element("noiselabel").querySelector(".numbers").textContent = number(Number(element("noise").value));
    if (noise) shown.push([element("noisy"), noisy()]);
    for (const [canvas, values] of shown) {
      const [context, w, h] = fitted(canvas);
      context.clearRect(0, 0, w, h);
      if (values) painter.paint(context, values, 0, 0, w, h);
    }
    const score = element("score");
    const hint = picture
      ? "Draw, and the model reconstructs your drawing."
      : "Draw, or copy from the cursor and bend the values.";
    if (error === null) score.textContent = hint;
    else if (!items) score.textContent = `Reconstruction error ${digits(error)}`;
    else {
      const below = items.errors.reduce((count, e) => count + (e < error), 0) / items.errors.length;
      const share = `${Math.round(100 * below)} % of the data`;
      score.textContent = `Reconstruction error ${digits(error)}: larger than for ${share}`;
      histogram();
    }
    element("histogram").hidden = !items || error === null;
  }

  function histogram() {
    element("histogram").hidden = false;
    const [context, w, h] = fitted(element("histogram"));
    context.clearRect(0, 0, w, h);
    const sorted = Float32Array.from(items.errors).sort();
    const largest = sorted[sorted.length - 1];
    const common = sorted[Math.floor(0.995 * (sorted.length - 1))];
    const end = 1.25 * Math.max(common, Math.min(error, 1.5 * largest)) || 1;
    const bins = new Float32Array(40);
    for (const e of items.errors) bins[Math.min(39, Math.floor((40 * e) / end))]++;
    const tallest = Math.max(...bins);
    const floor = h - 18;
    context.fillStyle = colourOf("band");
    bins.forEach((count, i) => {
      const tall = (count / tallest) * (floor - 6);
      context.fillRect((i * w) / 40 + 1, floor - tall, w / 40 - 2, tall);
    });
    context.fillStyle = colourOf("line");
    context.fillRect(0, floor, w, 1);
    const x = clamp((error / end) * w, 1, w - 2);
    context.fillStyle = colourOf("accent");
    context.fillRect(x - 1, 0, 3, floor);
    context.fillStyle = colourOf("muted");
    context.font = "12px system-ui, sans-serif";
    context.textBaseline = "bottom";
    context.textAlign = "left";
    context.fillText("errors of the data", 0, h);
    context.textAlign = "right";
    context.fillText(error > end ? "this drawing, beyond the end" : "line: this drawing", w, h);
  }

  element("clear").addEventListener("click", () => {
    drawn.fill(picture ? low : clamp(0, low, high));
    error = null;
    page.refresh();
  });
  element("take").addEventListener("click", () => {
    drawn.set(page.decoded);
    changed();
  });
  element("noise").addEventListener("input", changed);
  element("noiselabel").hidden = element("noisyfigure").hidden = !noise;
  if (noise) element("noise").max = noise.kind === "gaussian" ? Math.max(1, 2 * noise.amount) : 1;
  element("inklabel").hidden = !picture || picture[0] !== 3;
  element("penlabel").hidden = element("eraserchip").hidden = !picture;
  /* Another label: a drawing on the open paper has another code. */
  function relabelled() {
    if (error === null || page.tab !== "draw") return false;
    changed();
    return true;
  }

  return { show, relabelled };
}
