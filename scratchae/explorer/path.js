/* The path between two codes: decoded on the way through codes, beside the mixture of both decoded ends. */

const STEPS = 9;

function makePath(page) {
  const { element, painter } = page;
  const way = element("way");
  const play = element("play");
  let pictures = null; // the decoded ends, and both strips
  let playing = false;
  let before = 0;
  let direction = 1;

  function set(which, code) {
    page.ends[which] = code ? Float32Array.from(code) : null;
    rebuild();
  }

  /* A click on the map while the tab is open: the start, then the end, then a new start. */
  function clicked() {
    if (page.ends[0] && !page.ends[1]) return set(1, page.code);
    page.ends[1] = null;
    set(0, page.code);
  }

  /* With `going`, the film stays where the film is: the ends have not changed. */
  function rebuild(going = false) {
    const [a, b] = page.ends;
    element("pathshown").hidden = !(a && b);
    element("pathnote").textContent = !a
      ? "Choose the start and the end on the map. Or walk to a place and use the buttons."
      : !b
        ? "Now choose the end, B."
        : "You can choose a new start on the map.";
    pictures = null;
    if (a && b) {
      const ends = [page.decode(a), page.decode(b)];
      const shares = Array.from({ length: STEPS }, (_, i) => i / (STEPS - 1));
      pictures = {
        ends,
        codes: shares.map((s) => page.decode(mix(a, b, s))),
        pixels: shares.map((s) => mix(...ends, s)),
      };
      if (going) return page.refresh();
      way.value = 0;
      running(!matchMedia("(prefers-reduced-motion: reduce)").matches);
    } else running(false);
    page.refresh();
  }

  function running(now) {
    if (now && !playing)
      requestAnimationFrame((time) => {
        before = time;
        tick(time);
      });
    playing = now;
    play.textContent = now ? "Pause" : "Play";
  }

  /* There and back, three seconds each way. */
  function tick(time) {
    if (!playing) return;
    if (page.tab === "path") {
      let share = Number(way.value) + (direction * Math.min(time - before, 100)) / 3000;
      if (share >= 1 || share <= 0) direction = share >= 1 ? -1 : 1;
      way.value = clamp(share, 0, 1);
      draw();
    }
    before = time;
    requestAnimationFrame(tick);
  }

  function strip(canvas, row) {
    const [context, w] = fitted(canvas);
    const side = (w - 3 * (STEPS - 1)) / STEPS;
    context.clearRect(0, 0, w, canvas.height);
    row.forEach((values, i) => painter.paint(context, values, i * (side + 3), 0, side, side));
  }

  function whole(canvas, values) {
    const [context, w, h] = fitted(canvas);
    context.clearRect(0, 0, w, h);
    painter.paint(context, values, 0, 0, w, h);
  }

  function draw() {
    if (!pictures || page.tab !== "path") return;
    const share = Number(way.value);
    whole(element("bycode"), page.decode(mix(...page.ends, share)));
    whole(element("bypixel"), mix(...pictures.ends, share));
    way.setAttribute("aria-valuetext", `${Math.round(100 * share)} % of the way`);
  }

  function drawAll() {
    if (!pictures || page.tab !== "path") return;
    strip(element("codestrip"), pictures.codes);
    strip(element("pixelstrip"), pictures.pixels);
    draw();
  }

  element("start").addEventListener("click", () => set(0, page.code));
  element("end").addEventListener("click", () => set(1, page.code));
  element("swap").addEventListener("click", () => {
    page.ends.reverse();
    rebuild();
  });
  play.addEventListener("click", () => running(!playing));
  way.addEventListener("input", () => {
    running(false);
    draw();
  });
  return { clicked, drawAll, rebuild };
}
