"""The page in a browser: walking, sliders, paths, drawing, labels, keys, touch, and a phone's width."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import scratchae as sa
from scratchae.autoencoders import ConditionalVariationalAutoencoder, LabelBias
from scratchae.explorer import network
from scratchae.explorer.page import HERE

chromium = pytest.importorskip("chromium", reason="Chromium is driven over pipes that Windows lacks")
pytestmark = pytest.mark.skipif(chromium.PROGRAM is None or shutil.which("bash") is None,
                                reason="these tests drive Chromium, which is not installed")  # fmt: skip
rng = np.random.default_rng(0)
IMAGES = rng.random((60, 1, 8, 8), dtype=np.float32)
LABELS = np.arange(60) % 3


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[chromium.Browser]:
    opened = chromium.Browser(tmp_path_factory.mktemp("profile"))
    yield opened
    opened.close()


@pytest.fixture
def opened(browser: chromium.Browser, tmp_path: Path) -> Iterator[Any]:
    """A function that writes a page, opens the page, and returns the browser. No test may leave a fault behind."""

    def open_page(model: Any, *given: Any, look: dict[str, Any] | None = None, **options: Any) -> chromium.Browser:
        sa.explore(model, tmp_path / "page.html", *given, **options)
        browser.open(tmp_path / "page.html", **(look or {}))
        return browser

    browser.faults.clear()
    yield open_page
    browser.settle()
    assert not browser.faults
    assert browser.run("document.documentElement.scrollWidth <= innerWidth")


def vae(units: int = 2) -> Any:
    return sa.VariationalAutoencoder.dense((64, 16, units))


def text(browser: chromium.Browser, selector: str) -> str:
    return browser.run(f"document.querySelector({json.dumps(selector)}).textContent")


def code(browser: chromium.Browser) -> np.ndarray:
    return np.array(text(browser, "#code").replace("\u2212", "-").split(), float)


def pixels(browser: chromium.Browser, canvas: str, side: int = 8) -> np.ndarray:
    """The middle of each pixel of a square picture, in [0, 1]."""
    found = browser.run(f"""(() => {{
        const canvas = document.querySelector("{canvas}");
        const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", {{ willReadFrequently: true }});
        copy.drawImage(canvas, 0, 0);
        const data = copy.getImageData(0, 0, canvas.width, canvas.height).data;
        const at = (i, n) => Math.floor((i + 0.5) * n / {side});
        return Array.from({{ length: {side * side} }}, (_, i) =>
            data[4 * (at(Math.floor(i / {side}), canvas.height) * canvas.width + at(i % {side}, canvas.width))]);
    }})()""")
    return np.array(found).reshape(side, side) / 255


@pytest.mark.parametrize("width", [901, 960, 1280])
def test_the_bar_and_the_legend_of_ten_classes_fit_beside_the_picture(opened: Any, width: int) -> None:
    page = opened(vae(), IMAGES, np.arange(60) % 10, look={"width": width, "height": 680})
    rows = "new Set([...document.querySelectorAll('{}')].map((e) => Math.round(e.getBoundingClientRect().top))).size"
    assert page.run(rows.format("#mapcard .chip")) == 1
    assert page.run(rows.format("#legend button:not(.plain)")) == 1
    assert page.run("document.getElementById('item').getBoundingClientRect().width") >= 60


def test_a_label_has_one_control(opened: Any) -> None:
    page = opened(vae(), IMAGES)
    controls = 'querySelectorAll("button, input, meter, output, progress, select, textarea").length'
    assert page.run(f'[...document.querySelectorAll("label")].every((label) => label.{controls} === 1)')
    assert page.run("document.querySelectorAll('#sliders label').length") == 2
    assert not page.run('document.getElementById("theme").hidden')


def test_sliders_set_the_code_that_the_decoder_shows(opened: Any) -> None:
    model = vae()
    page = opened(model, IMAGES, LABELS)
    wanted = model.transform(IMAGES[:1])[0]
    for i, value in enumerate(wanted):
        row = f'[...document.querySelectorAll("#sliders .row")].find((r) => r.textContent.startsWith("unit {i + 1}"))'
        page.run(f'(() => {{ const s = {row}.querySelector("input"); s.value = {value};'
                 's.dispatchEvent(new Event("input")); })()')  # fmt: skip
    page.settle()
    shown = code(page)
    np.testing.assert_allclose(shown, wanted, atol=0.01)  # a slider has 500 steps
    expected = model.inverse_transform(shown[None].astype(np.float32)).reshape(8, 8)
    np.testing.assert_allclose(pixels(page, "#decoded"), expected, atol=2 / 255)  # the code was read with two digits


def in_the_page(page: chromium.Browser, half: str, inputs: np.ndarray) -> np.ndarray:
    """What the page's encoder or decoder makes of flat inputs. The page hides its functions, so they come along."""
    scripts = "\n".join((HERE / f"{name}.js").read_text() for name in ("layers", "numbers"))
    return np.array(
        page.run(f"""(() => {{
        {scripts}
        const text = (id) => document.getElementById(id).textContent;
        const model = unpacked(JSON.parse(text("model")), text("numbers"));
        const shape = "{half}" === "decoder" ? model.code.shape : model.shape;
        return {json.dumps(inputs.tolist())}.map((x) => Array.from(run(model.{half}, Float32Array.from(x), shape)));
    }})()""")
    )


def conv() -> Any:
    nn = sa.nn
    encoder = [nn.Conv2d(1, 4, 3, 2, 1), nn.BatchNorm2d(4), nn.ELU(), nn.Flatten(), nn.Linear(64, 3), nn.Tanh()]
    decoder = [nn.Linear(3, 64), nn.LayerNorm(64), nn.GELU(), nn.Unflatten(1, (4, 4, 4)), nn.Upsample(2, "bilinear"),
               nn.ConvTranspose2d(4, 4, 3, padding=1), nn.Softplus(), nn.Conv2d(4, 1, 1), nn.Sigmoid()]  # fmt: skip
    model = sa.Autoencoder(nn.Sequential(*encoder), nn.Sequential(*decoder))
    model.loss(IMAGES).backward()  # moves the running statistics
    return model


@pytest.mark.parametrize("make", [lambda: vae(5), conv])
def test_the_page_computes_the_model_for_100_codes(opened: Any, make: Any) -> None:
    model = make()
    page = opened(model, IMAGES, LABELS)
    rounded = network.rounded(model)  # as the page stores the weights
    codes = rng.standard_normal((100, model.transform(IMAGES[:1]).size)).astype(np.float32)
    drawn = rng.random((100, 1, 8, 8), dtype=np.float32)
    for half, inputs, wanted in (
        ("decoder", codes, rounded.inverse_transform(codes)), ("encoder", drawn, rounded.transform(drawn))
    ):  # fmt: skip
        found = in_the_page(page, half, inputs.reshape(100, -1))
        assert abs(found - wanted.reshape(100, -1)).max() <= 1e-4


def test_dragging_walks_and_a_click_chooses_a_point(opened: Any) -> None:
    model = vae()
    page = opened(model, IMAGES, LABELS)
    page.drag(*(page.place("#map", x, 0.5) for x in (0.3, 0.5, 0.7)))
    right = code(page)
    page.drag(*(page.place("#map", x, y) for x, y in ((0.7, 0.5), (0.3, 0.5), (0.3, 0.2))))
    assert code(page)[0] < right[0] and code(page)[1] > right[1]
    page.run('document.getElementById("map").focus()')
    page.press("Enter")  # the nearest point
    assert text(page, "#itemcaption").startswith("Chosen: ")
    item = int(text(page, "#itemcaption").split()[-1])
    assert f"Chosen: {LABELS[item]} \u00b7" in text(page, "#itemcaption")
    np.testing.assert_allclose(code(page), model.transform(IMAGES[item : item + 1])[0], atol=0.02)
    np.testing.assert_allclose(pixels(page, "#item"), IMAGES[item, 0], atol=1 / 255)


def test_the_wheel_and_shift_move_the_map_and_not_the_cursor(opened: Any) -> None:
    page = opened(vae(), IMAGES)
    page.drag(page.place("#map", 0.6, 0.6))
    before = code(page)
    x, y = page.place("#map", 0.4, 0.4)
    page.send("Input.dispatchMouseEvent", type="mouseWheel", x=x, y=y, deltaX=0, deltaY=-240)
    page.drag((x, y), (x + 40, y + 30), modifiers=8)
    np.testing.assert_array_equal(code(page), before)
    page.drag(page.place("#map", 0.6, 0.6))
    assert abs(code(page) - before).max() > 0.05  # the same place of the screen is another code now


def test_keys_walk_on_the_map(opened: Any) -> None:
    page = opened(vae(3), IMAGES, LABELS)
    page.run('document.getElementById("map").focus()')
    first = pixels(page, "#decoded")
    for key in ("ArrowRight", "ArrowRight", "ArrowUp", "+"):
        page.press(key)
    assert abs(pixels(page, "#decoded") - first).max() > 0
    page.wait('document.getElementById("said").textContent.includes("nearest: ")')
    assert text(page, "#said").startswith("axis 1 ")


def test_a_path_has_its_ends_and_its_middle(opened: Any) -> None:
    model = vae()
    page = opened(model, IMAGES)
    page.click("#tab-path")
    page.click("#map", 0.25, 0.3)
    start = code(page)
    page.click("#map", 0.7, 0.75)
    end = code(page)
    page.run("""(() => { const way = document.getElementById("way"); way.value = 0.5;
                way.dispatchEvent(new Event("input")); })()""")
    page.settle()
    ends = model.inverse_transform(np.stack([start, end]).astype(np.float32)).reshape(2, 8, 8)
    middle = model.inverse_transform(((start + end) / 2)[None].astype(np.float32)).reshape(8, 8)
    np.testing.assert_allclose(pixels(page, "#bycode"), middle, atol=3 / 255)
    np.testing.assert_allclose(pixels(page, "#bypixel"), ends.mean(axis=0), atol=3 / 255)
    assert page.run('document.getElementById("play").textContent') == "Play"  # a hand on the slider stops the film
    page.click("#map", 0.5, 0.5)
    assert page.run('document.getElementById("pathshown").hidden')  # a new start, without an end


def test_a_drawing_is_encoded_decoded_and_scored(opened: Any) -> None:
    model = vae()
    page = opened(model, IMAGES, LABELS)
    page.click("#tab-draw")
    page.drag(*(page.place("#paper", x, y) for x, y in ((0.2, 0.2), (0.8, 0.2), (0.5, 0.8))))
    drawing = pixels(page, "#paper")
    assert drawing[1, 3] > 0.7 and drawing[7, 0] == 0
    x = drawing[None, None].astype(np.float32)
    np.testing.assert_allclose(pixels(page, "#redrawn"), model.reconstruct(x)[0, 0], atol=3 / 255)
    np.testing.assert_allclose(code(page), model.transform(x)[0], atol=0.02)
    words = text(page, "#score").split()
    error = model.reconstruction_error(x)[0]
    assert float(words[2].rstrip(":")) == pytest.approx(error, rel=0.02)
    share = 100 * np.mean(model.reconstruction_error(IMAGES) < error)
    assert float(words[6]) == pytest.approx(share, abs=1)
    page.click("#clear")
    assert pixels(page, "#paper").max() == 0


def test_noise_damages_the_input_of_a_denoising_model(opened: Any) -> None:
    model = sa.DenoisingAutoencoder.dense((64, 16, 2), corruption="masking", amount=0.3)
    page = opened(model, IMAGES)
    page.click("#tab-draw")
    page.click("#take")
    noise = 'document.getElementById("noise")'
    page.run(f'{noise}.value = 0.5; {noise}.dispatchEvent(new Event("input"))')
    page.settle()
    clean, noisy = pixels(page, "#paper"), pixels(page, "#noisy")
    lost = noisy == 0
    assert 0.2 < lost.mean() < 0.8
    np.testing.assert_array_equal(noisy[~lost], clean[~lost])
    expected = model.reconstruct(noisy[None, None].astype(np.float32))[0, 0]
    np.testing.assert_allclose(pixels(page, "#redrawn"), expected, atol=3 / 255)


def test_the_legend_hides_classes(opened: Any) -> None:
    page = opened(vae(), IMAGES, LABELS)
    for i in (1, 2):
        page.click(f"#legend button:nth-child({i})")
    buttons = '[...document.querySelectorAll("#legend button[aria-pressed]")]'
    pressed = f'{buttons}.map((b) => b.getAttribute("aria-pressed"))'
    assert page.run(pressed) == ["false", "false", "true"]
    page.run('document.getElementById("map").focus()')
    page.press("Enter")
    assert text(page, "#itemcaption").startswith("Chosen: 2")
    page.click("#legend .plain")
    assert page.run(pressed) == ["true"] * 3


def test_two_fingers_zoom_and_one_finger_walks_on_a_phone(opened: Any) -> None:
    page = opened(vae(5), IMAGES, LABELS, look={"width": 360, "height": 740, "touch": True})
    places = [page.place("#map", x, 0.6) for x in (0.3, 0.4, 0.6)]
    before = pixels(page, "#decoded")
    page.touch(places)
    walked = pixels(page, "#decoded")
    assert abs(walked - before).max() > 0
    left, right = ([page.place("#map", 0.5 + side * d, 0.5) for d in (0.1, 0.2, 0.3)] for side in (-1, 1))
    page.touch(left, right)
    np.testing.assert_array_equal(pixels(page, "#decoded"), walked)
    assert page.run("document.documentElement.scrollWidth") == 360


@pytest.mark.parametrize("look", [{"width": 360, "height": 640}, {"width": 820, "height": 1100, "dark": True}])
def test_data_that_are_no_pictures(opened: Any, look: dict[str, Any]) -> None:
    table = rng.normal(size=(40, 6)).astype(np.float32)
    model = sa.Autoencoder.dense((6, 8, 3), output=None, loss="mse")
    page = opened(model, table, np.linspace(0, 1, 40), "A <script>table</script>", look=look, features="abcdef")
    assert text(page, "h1") == "A <script>table</script>"
    page.click("#tab-draw")
    page.drag(*(page.place("#paper", x, 0.3) for x in (0.1, 0.5, 0.9)))
    assert text(page, "#score").startswith("Reconstruction error ")
    page.click("#tab-path")
    page.click("#start")
    page.click("#tab-units")
    page.click("#random")
    page.click("#tab-path")
    page.click("#end")
    assert not page.run('document.getElementById("pathshown").hidden')


@pytest.mark.parametrize("model", [
    lambda: sa.Autoencoder.dense((64, 8, 1)), lambda: vae(6), lambda: sa.ConvAutoencoder((1, 2), size=8, code_size=3),
])  # fmt: skip
def test_a_model_without_data(opened: Any, model: Any) -> None:
    page = opened(model(), look={"dark": True})
    page.drag(page.place("#map", 0.3, 0.3), page.place("#map", 0.6, 0.5))
    page.click("#random")
    assert len(code(page)) in (1, 3, 6)
    assert page.run("document.documentElement.dataset.theme") == "dark"
    page.click("#theme")
    page.click("#theme")
    assert page.run("document.documentElement.dataset.theme") == "light"


def test_the_label_changes_the_digit_and_keeps_the_code(opened: Any) -> None:
    model = ConditionalVariationalAutoencoder.dense((64, 16, 3), classes=3)
    for layer in model.modules():
        if isinstance(layer, LabelBias):
            layer.weight.data = rng.normal(size=layer.weight.shape).astype(np.float32)
    page = opened(model, IMAGES, LABELS)
    page.run('document.getElementById("map").focus()')
    page.press("Enter")
    item = int(text(page, "#itemcaption").split()[-1])
    own = model.transform(IMAGES[item : item + 1], LABELS[item])
    for label in (2, 0, 1):
        page.click(f"#labels button:nth-child({label + 1})")
        assert text(page, "#decodedas") == f"Decoded as {label}"
        pressed = '[...document.querySelectorAll("#labels [aria-pressed=true]")].map((b) => b.textContent)'
        assert page.run(pressed) == [str(label)] and text(page, "#itemcaption").endswith(f"item {item}")
        np.testing.assert_allclose(code(page), own[0], atol=0.02)  # of the item's own label
        expected = model.inverse_transform(own, label).reshape(8, 8)
        np.testing.assert_allclose(pixels(page, "#decoded"), expected, atol=2 / 255)
    page.click("#tab-draw")
    page.click("#take")
    drawing = pixels(page, "#paper")[None, None].astype(np.float32)
    for label in (0, 2):
        page.click(f"#labels button:nth-child({label + 1})")
        np.testing.assert_allclose(code(page), model.transform(drawing, label)[0], atol=0.02)
        np.testing.assert_allclose(pixels(page, "#redrawn"), model.reconstruct(drawing, label)[0, 0], atol=3 / 255)
    page.click("#tab-path")
    page.click("#map", 0.3, 0.3)
    page.click("#map", 0.7, 0.7)
    way = 'document.getElementById("way")'
    page.run(f'{way}.value = 1; {way}.dispatchEvent(new Event("input"))')
    end = code(page)[None].astype(np.float32)
    for label in (1, 2):
        page.click(f"#labels button:nth-child({label + 1})")
        page.settle()
        expected = model.inverse_transform(end, label).reshape(8, 8)
        np.testing.assert_allclose(pixels(page, "#bycode"), expected, atol=3 / 255)


def test_other_models_have_no_labels_to_choose(opened: Any) -> None:
    page = opened(vae(), IMAGES, LABELS)
    assert page.run('document.getElementById("labels").hidden') and text(page, "#decodedas") == "Decoded"


def test_another_plane_keeps_the_code(opened: Any) -> None:
    page = opened(vae(4), IMAGES)
    page.drag(page.place("#map", 0.4, 0.3))
    before = code(page)
    change = 's.dispatchEvent(new Event("change"))'
    page.run(f'(() => {{ const s = document.getElementById("across"); s.value = 2; {change}; }})()')
    page.settle()
    np.testing.assert_array_equal(code(page), before)
    page.run(f'(() => {{ const s = document.getElementById("up"); s.value = 2; {change}; }})()')
    names = [page.run(f'document.getElementById("{id}").selectedOptions[0].text') for id in ("across", "up")]
    assert len(set(names)) == 2  # the directions change places where both would be the same
