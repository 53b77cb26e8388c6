/* The labels of a conditional model: one button for each. The decoder and the encoder use the chosen label. */

function makeLabels(page) {
  const { model, element } = page;
  const group = element("labels");
  group.hidden = !model.classes;
  if (!model.classes) return;
  const buttons = Array.from({ length: model.classes }, (_, label) => {
    const button = document.createElement("button");
    Object.assign(button, { type: "button", textContent: label });
    button.addEventListener("click", () => {
      page.setLabel(label);
      show();
    });
    return button;
  });

  function show() {
    buttons.forEach((button, label) => button.setAttribute("aria-pressed", String(label === page.label)));
    element("decodedas").textContent = `Decoded as ${page.label}`;
  }

  group.setAttribute("role", "group");
  group.setAttribute("aria-label", "Label of the decoder");
  group.append("Label", ...buttons);
  show();
}
