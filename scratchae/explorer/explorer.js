/* The page: the model, the cursor's code, and the parts that show it. */

function start() {
  const element = (id) => document.getElementById(id);
  const model = unpacked(JSON.parse(element("model").textContent), element("numbers").textContent);
  const { items } = model;
  const size = sizeOf(model.code.shape);
  const frames = []; // what is drawn anew after a change
  let waiting = false;

  const page = {
    model,
    element,
    directions: directionsOf(model),
    painter: makePainter(model),
    label: 0, // of a conditional model: both halves use the label
    decode: (code) => run(model.decoder, Float32Array.from(code), model.code.shape, page.label),
    encode: (values) => run(model.encoder, Float32Array.from(values), model.shape, page.label),
    embedded: window !== window.top,
    plane: [],
    ends: [null, null],
    dragging: false,
    cost: 0,
    tab: "units",
    item: -1,
  };

  /* --- the cursor ---------------------------------------------------------------------------- */

  page.centre = () => (model.code.prior ? new Float32Array(size) : Float32Array.from(model.units.centre));
  page.code = page.centre();
  page.decoded = page.decode(page.code);

  /* Move the cursor to a code, which may be the code of an item. `around` says that the plane may lie elsewhere now. */
  page.moveTo = (code, item = -1, around = item >= 0) => {
    const began = performance.now();
    page.code = Float32Array.from(code);
    page.decoded = page.decode(page.code);
    page.cost = performance.now() - began;
    page.item = item;
    if (around && size > 2) map.newSlice();
    page.refresh();
  };
  /* Another label of a conditional model. The code stays, and all decoded pictures change. */
  page.setLabel = (label) => {
    page.label = label;
    map.newSlice();
    path.rebuild(true);
    if (!drawing.relabelled()) page.moveTo(page.code, page.item, false);
  };
  page.moveToItem = (item) => page.moveTo(items.codes.slice(item * size, (item + 1) * size), item);
  page.clicked = () => {
    if (page.tab === "path") path.clicked();
  };

  page.refresh = () => {
    if (!waiting)
      requestAnimationFrame(() => {
        waiting = false;
        frames.forEach((frame) => frame());
      });
    waiting = true;
  };

  /* Whether the picture in the middle is mostly dark: then the map's background is drawn as ink on paper. */
  page.dark = model.picture && model.picture[0] === 1 && isDark();
  function isDark() {
    const sorted = page.decode(page.centre()).slice().sort();
    const [low, high] = model.range;
    return sorted[sorted.length >> 1] < low + 0.25 * (high - low);
  }

  /* --- the cursor's pictures and words ------------------------------------------------------- */

  function showPlace() {
    const [context, w, h] = fitted(element("decoded"));
    context.clearRect(0, 0, w, h);
    page.painter.paint(context, page.decoded, 0, 0, w, h);
    const most = 24;
    const rest = size > most ? ` \u2026 ${(size - most).toLocaleString("en")} more` : "";
    element("code").textContent = `${Array.from(page.code.slice(0, most), number).join("  ")}${rest}`;
    if (!items) return;
    page.near = page.item >= 0 ? [page.item, 0] : nearest(items.codes, page.code, page.allowed);
    element("beside").hidden = page.near[0] < 0;
    if (page.near[0] < 0) return;
    page.paintItem(element("item"), page.near[0]);
    element("itemcaption").textContent = `${page.item >= 0 ? "Chosen" : "Nearest"}: ${page.nameOf(page.near[0])}`;
  }

  /* For screen readers, after a key. */
  let saying = 0;
  page.say = () => {
    clearTimeout(saying);
    saying = setTimeout(() => {
      const place = page.plane
        .filter(Boolean)
        .map((d) => `${d.id} ${number(placeOf(d, page.code))}`)
        .join(", ");
      const near = page.near && page.near[0] >= 0 ? `; nearest: ${page.nameOf(page.near[0])}` : "";
      element("said").textContent = place + near;
    }, 400);
  };

  /* --- the plane, the tabs, the theme -------------------------------------------------------- */

  const selects = [element("across"), element("up")];
  function buildPlane() {
    const kinds = { axis: "Principal axes", unit: "Units" };
    for (const select of selects) {
      for (const kind of ["axis", "unit"]) {
        const group = Object.assign(document.createElement("optgroup"), { label: kinds[kind] });
        page.directions.forEach((d, i) => {
          if (d.kind === kind) group.append(new Option(d.id, i));
        });
        if (group.children.length) select.append(group);
      }
    }
    const place = (kind, unit) =>
      page.directions.findIndex((d) => d.kind === kind && (kind === "axis" || d.unit === unit));
    const axis = place("axis");
    selects.forEach((select, i) => {
      select.value = axis < 0 ? place("unit", Math.min(i, size - 1)) : axis + i;
    });
    element("upwards").hidden = size < 2;
    selects.forEach((select, i) => {
      let before = select.value;
      select.addEventListener("change", () => {
        const other = selects[1 - i];
        if (other.value === select.value) {
          // both directions cannot be the same: they change places
          other.value = before;
          other.dispatchEvent(new Event("settle"));
        }
        before = select.value;
        setPlane();
      });
      select.addEventListener("settle", () => {
        before = select.value;
      });
    });
  }
  function setPlane() {
    page.plane = selects.map((select) => page.directions[select.value]);
    if (size < 2) page.plane[1] = null;
    map.newPlane();
  }

  const tabs = ["units", "path", "draw"];
  function openTab(name) {
    page.tab = name;
    for (const one of tabs) {
      const tab = element(`tab-${one}`);
      tab.setAttribute("aria-selected", String(one === name));
      tab.tabIndex = one === name ? 0 : -1;
      element(one).hidden = one !== name;
    }
    const fingers = matchMedia("(hover: none)").matches;
    const click = fingers ? "Tap" : "Click";
    const points = items ? ` ${click} a point to go to it.` : "";
    const first = name === "path" ? `${click} the start, then the end. Drag to walk.` : `Drag to walk.${points}`;
    const move = fingers
      ? "Two fingers zoom and move the map."
      : `${page.embedded ? "Ctrl with the wheel" : "The wheel"} zooms. Drag with Shift to move the map.`;
    element("hint").textContent = `${first} ${move}`;
    page.refresh();
  }
  function buildTabs() {
    element("tab-draw").hidden = !model.encoder;
    const usable = tabs.filter((name) => !element(`tab-${name}`).hidden);
    for (const name of usable) {
      const tab = element(`tab-${name}`);
      tab.addEventListener("click", () => openTab(name));
      tab.addEventListener("keydown", (event) => {
        const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
        if (!step) return;
        const next = usable[(usable.indexOf(name) + step + usable.length) % usable.length];
        openTab(next);
        element(`tab-${next}`).focus();
      });
    }
    openTab("units");
  }

  const system = matchMedia("(prefers-color-scheme: dark)");
  let wanted = "auto";
  function setTheme() {
    document.documentElement.dataset.theme = wanted === "auto" ? (system.matches ? "dark" : "light") : wanted;
    element("theme").textContent = { auto: "Auto", light: "Light", dark: "Dark" }[wanted];
    element("theme").setAttribute("aria-label", `Colours of the page: ${wanted}`);
    known.colourLegend();
    map.recolour();
  }
  element("theme").addEventListener("click", () => {
    wanted = { auto: "dark", dark: "light", light: "auto" }[wanted];
    setTheme();
  });
  system.addEventListener("change", setTheme);

  /* --- all parts ----------------------------------------------------------------------------- */

  const count = (n) => n.toLocaleString("en");
  const held = items ? items.errors.length : 0;
  const sample = items && held < items.given ? `${count(held)} of ${count(items.given)} items, a random sample` : "";
  element("about").textContent = [
    model.kind,
    `${count(model.parameters)} parameters`,
    `${count(size)} code ${size === 1 ? "unit" : "units"}`,
    sample || (items && `${count(held)} items`),
  ]
    .filter(Boolean)
    .join(" \u00b7 ");
  element("tilesname").textContent = model.picture ? "Pictures" : "Charts";
  element("dotschip").hidden = !items;
  document.querySelectorAll(".mixed").forEach((e) => {
    e.textContent = model.picture ? "Through pixels" : "Through values";
  });
  element("place").classList.toggle("charts", !model.picture);
  document.querySelector("main").hidden = false;
  element("theme").hidden = false;

  const known = makeItems(page, () => map.changed());
  const map = makeMap(page);
  makeHands(page, map);
  const sliders = makeSliders(page);
  const path = makePath(page);
  const drawing = model.encoder ? makeDrawing(page) : { show() {}, relabelled: () => false };
  makeLabels(page);
  frames.push(map.draw, showPlace, sliders.update, path.drawAll, drawing.show);
  buildPlane();
  setTheme();
  setPlane();
  sliders.build();
  buildTabs();
  let [width, height] = [0, 0];
  new ResizeObserver(() => {
    const box = element("mapbox").getBoundingClientRect();
    if (box.width !== width || box.height !== height) {
      [width, height] = [box.width, box.height];
      map.resized();
    }
    page.refresh();
  }).observe(document.body);
  document.documentElement.dataset.ready = "yes";
}

try {
  start();
} catch (error) {
  const problem = document.getElementById("problem");
  problem.textContent = `This browser cannot show the model (${error.message}). A browser from 2021 or later can.`;
  problem.hidden = false;
  throw error;
}
