/* Sliders: one for each unit of the code, or for each principal axis. */

const SHOWN = 12; // sliders at first, and how many more with each click
const MANY = 100; // units

function makeSliders(page) {
  const { model, directions, element } = page;
  const list = element("sliders");
  const more = element("more");
  const kinds = element("sliderkind");
  let rows = [];
  let shown = SHOWN;

  const all = () => directions.filter((d) => d.kind === kinds.value);

  function build() {
    rows = all()
      .slice(0, shown)
      .map((direction) => {
        const row = document.createElement("label");
        row.className = "row";
        const name = document.createElement("span");
        name.textContent = direction.id;
        const note = document.createElement("small");
        note.textContent = direction.note;
        name.append(note);
        const { low, high, from, to } = direction;
        const slider = Object.assign(document.createElement("input"), {
          type: "range",
          min: low,
          max: high,
          step: (high - low) / 500,
        });
        const percent = (v) => `${(100 * (v - low)) / (high - low)}%`;
        slider.style.setProperty("--from", percent(from));
        slider.style.setProperty("--to", percent(to));
        const value = document.createElement("span");
        value.className = "numbers";
        slider.addEventListener("input", () =>
          page.moveTo(movedTo(page.code, [direction], [Number(slider.value)]), -1, true),
        );
        row.append(name, slider, value);
        return { row, slider, value, direction };
      });
    list.replaceChildren(...rows.map((r) => r.row));
    const hidden = all().length - rows.length;
    more.hidden = hidden <= 0;
    more.textContent = `Show ${Math.min(SHOWN, hidden)} more of ${hidden.toLocaleString("en")}`;
    update();
  }

  function update() {
    for (const { slider, value, direction } of rows) {
      const place = placeOf(direction, page.code);
      slider.value = place;
      value.textContent = number(place);
      slider.setAttribute("aria-valuetext", `${direction.id}: ${number(place)}`);
    }
  }

  /* A draw from N(0, 1) for a variational model; else a random item, or a random code within the ranges. */
  function draw() {
    const size = page.code.length;
    if (model.code.prior) return page.moveTo(Float32Array.from({ length: size }, normal), -1, true);
    if (model.items) return page.moveToItem(Math.floor(Math.random() * model.items.errors.length));
    const { low, high } = model.units;
    page.moveTo(
      low.map((v, i) => v + Math.random() * (high[i] - v)),
      -1,
      true,
    );
  }

  kinds.addEventListener("change", () => {
    shown = SHOWN;
    build();
  });
  more.addEventListener("click", () => {
    shown += SHOWN;
    build();
  });
  element("which").hidden = !model.axes;
  if (model.axes && page.code.length > MANY) kinds.value = "axis"; // one unit of so many changes little
  element("random").textContent = model.code.prior ? "Random draw" : model.items ? "Random item" : "Random code";
  element("random").addEventListener("click", draw);
  element("reset").addEventListener("click", () => page.moveTo(page.centre(), -1, true));
  const sorted = model.units.measure === "nats" ? "KL divergence from the prior" : "variance";
  element("unitsnote").textContent = model.items
    ? `The dark part of a slider has nine of ten items. Units are sorted by their ${sorted}.`
    : "The page was written without data, so the ranges are assumed.";
  return { build, update };
}
