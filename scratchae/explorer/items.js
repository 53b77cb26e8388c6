/* The items of the data: their marks on the map, their names and pictures, and the legend. */

function makeItems(page, changed) {
  const { model, element } = page;
  const { items } = model;
  const labels = items && items.labels;
  const hidden = new Set(); // classes that the legend hides

  page.allowed = (item) => !labels || !labels.classes || !hidden.has(labels.index[item]);
  const extreme = (choose) => (labels && labels.values ? labels.values.reduce((a, b) => choose(a, b)) : 0);
  const [least, greatest] = [extreme(Math.min), extreme(Math.max)];
  const markOfClass = (i) => ({ colour: COLOURS[theme()][i % 10], shape: Math.floor(i / 10) });
  page.markOf = (item) => {
    if (!labels) return { colour: colourOf("accent"), shape: 0 };
    if (labels.classes) return markOfClass(labels.index[item]);
    return { colour: scaleColour((labels.values[item] - least) / (greatest - least || 1)), shape: 0 };
  };
  page.nameOf = (item) => {
    const label = labels && (labels.classes ? labels.classes[labels.index[item]] : digits(labels.values[item]));
    return `${label === null ? "" : `${label} \u00b7 `}item ${items.numbers[item]}`;
  };

  const sprite = new Image();
  if (items && items.sprite) {
    sprite.onload = page.refresh;
    sprite.src = items.sprite;
  }
  page.paintItem = (canvas, item) => {
    const [context, w, h] = fitted(canvas);
    context.clearRect(0, 0, w, h);
    if (items.rows) {
      const n = sizeOf(model.shape);
      return page.painter.paint(context, items.rows.subarray(item * n, (item + 1) * n), 0, 0, w, h);
    }
    if (!sprite.complete) return;
    const [height, width] = items.thumbnail;
    const columns = sprite.width / width;
    const zoom = Math.min(w / width, h / height);
    context.imageSmoothingEnabled = zoom < 2;
    const from = [(item % columns) * width, Math.floor(item / columns) * height, width, height];
    const to = [(w - zoom * width) / 2, (h - zoom * height) / 2, zoom * width, zoom * height];
    context.drawImage(sprite, ...from, ...to);
  };

  function buildLegend() {
    const legend = element("legend");
    legend.hidden = !labels;
    if (!labels) return;
    if (!labels.classes) {
      const bar = document.createElement("span");
      bar.className = "scale";
      return legend.replaceChildren(digits(least), bar, digits(greatest));
    }
    const all = labels.classes.map((name, i) => {
      const button = document.createElement("button");
      button.type = "button";
      button.setAttribute("aria-pressed", "true");
      const dot = Object.assign(document.createElement("canvas"), { width: 32, height: 32 });
      button.append(dot, name);
      button.addEventListener("click", () => {
        if (!hidden.delete(i)) hidden.add(i);
        button.setAttribute("aria-pressed", String(!hidden.has(i)));
        changed();
      });
      return button;
    });
    const every = document.createElement("button");
    Object.assign(every, { type: "button", textContent: "All", className: "plain" });
    every.title = "Show or hide all classes";
    every.addEventListener("click", () => {
      const show = hidden.size > 0;
      all.forEach((button, i) => {
        hidden[show ? "delete" : "add"](i);
        button.setAttribute("aria-pressed", String(show));
      });
      changed();
    });
    legend.replaceChildren(...all, every);
  }

  function colourLegend() {
    const scale = element("legend").querySelector(".scale");
    if (scale) scale.style.background = `linear-gradient(to right, ${SCALES[theme()].join(", ")})`;
    element("legend")
      .querySelectorAll("canvas")
      .forEach((canvas, i) => {
        const context = canvas.getContext("2d");
        const { colour, shape } = markOfClass(i);
        context.clearRect(0, 0, 32, 32);
        context.fillStyle = colour;
        mark(context, shape, 16, 16, 11);
        context.fill();
      });
  }

  buildLegend();
  return { colourLegend };
}
