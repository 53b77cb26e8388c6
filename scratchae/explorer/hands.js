/* Mouse, pen, fingers and keys on the map. */

function makeHands(page, map) {
  const { element } = page;
  const canvas = element("map");
  let hovered = -1;

  const at = (event) => [event.clientX - map.box().left, event.clientY - map.box().top];

  function hover(event) {
    const item = event.pointerType === "mouse" && !page.dragging ? map.pointAt(at(event), 8) : -1;
    if (item === hovered) return;
    hovered = item;
    const tip = element("tip");
    tip.hidden = item < 0;
    canvas.style.cursor = item < 0 ? "crosshair" : "pointer";
    if (item < 0) return;
    const { width, height } = map.box();
    const [x, y] = map.onScreen(item);
    page.paintItem(tip.querySelector("canvas"), item);
    tip.querySelector("span").textContent = page.nameOf(item);
    tip.style.left = `${x > width - 190 ? x - 14 - tip.offsetWidth : x + 14}px`;
    tip.style.top = `${clamp(y - 32, 4, height - tip.offsetHeight - 4)}px`;
  }

  const hands = new Map(); // pointers that are down, and their places
  let gesture = null; // { kind: "walk", "pan" or "pinch", from, moved }

  canvas.addEventListener("pointerdown", (event) => {
    if (event.button > 2) return;
    canvas.setPointerCapture(event.pointerId);
    hands.set(event.pointerId, at(event));
    const panning = event.button !== 0 || event.shiftKey;
    gesture = { kind: hands.size > 1 ? "pinch" : panning ? "pan" : "walk", from: at(event), moved: hands.size > 1 };
    page.dragging = true;
    hover(event);
  });

  canvas.addEventListener("pointermove", (event) => {
    if (!hands.has(event.pointerId) || !gesture) return hover(event);
    const before = [...hands.values()];
    const [x, y] = hands.get(event.pointerId);
    hands.set(event.pointerId, at(event));
    const now = [...hands.values()];
    const [cx, cy] = at(event);
    const far = Math.hypot(cx - gesture.from[0], cy - gesture.from[1]);
    if (far > (event.pointerType === "mouse" ? 3 : 8)) gesture.moved = true;
    if (!gesture.moved) return;
    if (gesture.kind === "walk") map.walk([cx, cy]);
    else if (gesture.kind === "pan") map.pan(cx - x, cy - y);
    else if (now.length > 1) {
      const middle = ([a, b]) => [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2];
      const apart = ([a, b]) => Math.hypot(a[0] - b[0], a[1] - b[1]) || 1;
      map.pan(middle(now)[0] - middle(before)[0], middle(now)[1] - middle(before)[1]);
      map.zoom(apart(now) / apart(before), middle(now));
    }
  });

  function release(event) {
    if (!hands.delete(event.pointerId)) return;
    if (event.type === "pointerup" && gesture.kind === "walk" && !gesture.moved) {
      const item = map.pointAt(at(event), event.pointerType === "mouse" ? 8 : 16);
      if (item < 0) map.walk(at(event));
      else map.choose(item);
      page.clicked();
    }
    if (hands.size) gesture = { kind: "rest", from: at(event), moved: true }; // one finger of two is left
    page.dragging = hands.size > 0;
    map.later();
  }
  canvas.addEventListener("pointerup", release);
  canvas.addEventListener("pointercancel", release);
  canvas.addEventListener("pointerleave", () => {
    element("tip").hidden = true;
    hovered = -1;
  });
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  canvas.addEventListener(
    "wheel",
    (event) => {
      if (page.embedded && !event.ctrlKey) return; // the wheel scrolls the page around this one
      event.preventDefault();
      map.zoom(Math.exp(-clamp(event.deltaY * (event.deltaMode ? 20 : 1), -120, 120) / 300), at(event));
    },
    { passive: false },
  );

  const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const [x, y] = map.onScreen();
    const far = event.shiftKey ? 48 : 10;
    const acts = {
      "+": () => map.zoom(1.3, [x, y]),
      "=": () => map.zoom(1.3, [x, y]),
      "-": () => map.zoom(1 / 1.3, [x, y]),
      f: map.fit,
      F: map.fit,
      Enter: () => {
        const item = map.pointAt([x, y], Infinity);
        if (item >= 0) map.choose(item);
        page.clicked();
      },
    };
    if (event.key in arrows) map.walk([x + far * arrows[event.key][0], y + far * arrows[event.key][1]]);
    else if (event.key in acts) acts[event.key]();
    else return;
    page.say();
    event.preventDefault();
  });

  element("in").addEventListener("click", () => map.zoom(1.5));
  element("out").addEventListener("click", () => map.zoom(1 / 1.5));
  element("fit").addEventListener("click", map.fit);
  for (const id of ["tiles", "dots"]) element(id).addEventListener("change", page.refresh);
}
