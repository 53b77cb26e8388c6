"""Film a walk through the page of `sa.explore`, and write docs/explorer.gif.

    pip install -e . && python tools/film_explorer.py

The script needs Chromium (`chromium`), and all 60,000 images of MNIST, see `sa.data.mnist`. The first run trains the
model for some minutes, and keeps the weights and the page in outputs/film. The walk is closed, so the film repeats
without a jump.
"""

from __future__ import annotations

import argparse
import base64
import io
import itertools
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

PROJECT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(PROJECT), str(PROJECT / "tests")]  # for a checkout that is not installed

import chromium  # noqa: E402

import scratchae as sa  # noqa: E402
from scratchae import optim  # noqa: E402
from scratchae.explorer.items import ranges  # noqa: E402

SIZES, EPOCHS, BATCH_SIZE, LR = (784, 512, 128, 2), 40, 128, 1e-3
PAGE = (960, 680)  # in CSS pixels: the page's narrowest comfortable layout with the map beside the picture
ZOOM = 2  # pixels of a screenshot per CSS pixel
FILM = (800, 567)
FRAMES, FRAME_MS = 100, 90
NEAR = 30  # neighbours that tell how pure a place of the map is
EXACT = 100  # colours of the palette that are exact
CLOSER = 1.5  # the factor of the page's button +
REST = 0.6  # from 0 to 1: how much the cursor slows down at a digit
MOUSE = "--blink-settings=primaryHoverType=2,availableHoverTypes=2,primaryPointerType=4,availablePointerTypes=4"


def trained(weights: Path) -> sa.VariationalAutoencoder:
    """The model of the film, from the file `weights` if there is one."""
    sa.manual_seed(0)
    vae = sa.VariationalAutoencoder.dense(SIZES)
    if weights.exists():
        vae.load_weights(weights)
    else:
        images, _ = sa.data.mnist()
        sa.Trainer(vae, optim.Adam(vae.parameters(), lr=LR)).fit(images, epochs=EPOCHS, batch_size=BATCH_SIZE)
        vae.save_weights(weights)
    return vae


def stations(codes: np.ndarray, digits: np.ndarray) -> np.ndarray:
    """One code (10, 2) for each digit, in the order of the shortest closed tour.

    The code of a digit has the most codes of the same digit among its nearest codes. Of equals, the code nearest to the
    median of the digit is taken.
    """
    distances = np.linalg.norm(codes[:, None] - codes, axis=2)
    nearest = np.argsort(distances, axis=1)[:, :NEAR]
    purity = (digits[nearest] == digits[:, None]).sum(axis=1)
    places = []
    for digit in range(10):
        own = np.flatnonzero(digits == digit)
        to_median = np.linalg.norm(codes[own] - np.median(codes[own], axis=0), axis=1)
        places.append(codes[own[np.lexsort((to_median, -purity[own]))[0]]])
    found = np.array(places)
    between = np.linalg.norm(found[:, None] - found, axis=2)
    tours = np.array(list(itertools.permutations(range(1, 10))))
    tours = np.insert(tours, 0, 0, axis=1)
    lengths = between[tours, np.roll(tours, -1, axis=1)].sum(axis=1)
    return found[tours[lengths.argmin()]]


def closed_walk(places: np.ndarray, frames: int) -> np.ndarray:
    """Codes (frames, 2) on a smooth closed curve through all `places`, a centripetal Catmull-Rom spline.

    The time of a leg grows with its length, and the cursor slows down at each place.
    """
    legs = len(places)
    lengths = np.linalg.norm(np.roll(places, -1, axis=0) - places, axis=1)
    knots = np.sqrt(lengths)
    time = np.concatenate([[0], np.cumsum(lengths + 0.8 * lengths.mean())])
    at = np.interp(np.arange(frames) / frames * time[-1], time, np.arange(legs + 1))
    leg, share = at.astype(int), at % 1
    share = (1 - REST) * share + REST * share**2 * (3 - 2 * share)
    p = [places[(leg + i) % legs] for i in (-1, 0, 1, 2)]
    d = [knots[(leg + i) % legs][:, None] for i in (-1, 0, 1)]
    t = share[:, None]
    into = d[1] * ((p[1] - p[0]) / d[0] - (p[2] - p[0]) / (d[0] + d[1]) + (p[2] - p[1]) / d[1])
    out = d[1] * ((p[2] - p[1]) / d[1] - (p[3] - p[1]) / (d[1] + d[2]) + (p[3] - p[2]) / d[2])
    cubic = (2 * t**3 - 3 * t**2 + 1) * p[1] + (t**3 - 2 * t**2 + t) * into
    return cubic + (-2 * t**3 + 3 * t**2) * p[2] + (t**3 - t**2) * out


def on_screen(walk: np.ndarray, codes: np.ndarray, box: dict[str, float]) -> np.ndarray:
    """Places (frames, 2) of the codes `walk` on the screen.

    The map fits the ranges of `codes` into its `box`, and a click on + then enlarges the map.
    """
    found = ranges(codes)
    across, up = found["high"] - found["low"]
    scale = CLOSER * min(box["width"] / across, box["height"] / up)
    middle = np.array([box["x"] + box["width"] / 2, box["y"] + box["height"] / 2])
    return middle + scale * (walk - (found["low"] + found["high"]) / 2) * [1, -1]


def filmed(page: Path, walk: np.ndarray, codes: np.ndarray) -> list[Image.Image]:
    """A screenshot of the page for each code of the walk. The mouse drags the page's cursor."""
    chromium.OPTIONS += (MOUSE,)  # without a window, Chromium believes that there is no mouse
    with tempfile.TemporaryDirectory() as profile:
        browser = chromium.Browser(Path(profile))
        width, height = PAGE
        browser.open(page, width, height)
        box = browser.run("document.getElementById('map').getBoundingClientRect().toJSON()")
        places = on_screen(walk, codes, box)
        browser.click("#in")
        browser.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=ZOOM,
                     mobile=False)  # fmt: skip
        mouse = {"button": "left", "buttons": 1, "clickCount": 1}
        corner = {"x": box["x"] + 20, "y": box["y"] + 20}
        browser.send("Input.dispatchMouseEvent", type="mousePressed", **corner, **mouse)
        frames = []
        for i, (x, y) in enumerate([*places, *places, places[0]]):
            browser.send("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y, **mouse)
            browser.settle()
            if len(places) <= i < 2 * len(places):  # on the first way around, the page draws the map's pictures
                taken = browser.send("Page.captureScreenshot", format="png")["data"]
                frames.append(Image.open(io.BytesIO(base64.b64decode(taken))).convert("RGB"))
        shown = browser.run("document.getElementById('code').textContent").replace("\N{MINUS SIGN}", "-")
        np.testing.assert_allclose(np.array(shown.split(), float), walk[0], atol=0.05)  # a pixel is about 0.02
        browser.close()
    return frames


def shared_palette(frames: list[Image.Image]) -> np.ndarray:
    """255 colours (255, 3) for all frames: the most frequent ones unchanged, and a median cut of the others."""
    pixels = np.concatenate([np.asarray(frame).reshape(-1, 3) for frame in frames[:: max(1, len(frames) // 12)]])
    colours, counts = np.unique(pixels, axis=0, return_counts=True)
    order = counts.argsort()[::-1]
    frequent, others = colours[order[:EXACT]], colours[order[EXACT:]]
    cut = Image.fromarray(others[None]).quantize(255 - EXACT, method=Image.Quantize.MEDIANCUT, kmeans=1)
    return np.concatenate([frequent, np.reshape(cut.getpalette(), (-1, 3))[: 255 - EXACT]]).astype(np.uint8)


def in_palette(frame: Image.Image, palette: np.ndarray) -> Image.Image:
    """The frame in the nearest colours of the palette, without dithering. Pillow's `quantize` shifts white to grey."""
    colours, index = np.unique(np.asarray(frame).reshape(-1, 3) @ [65536, 256, 1], return_inverse=True)
    channels = np.stack([colours >> 16, colours >> 8 & 255, colours & 255], axis=1).astype(np.float32)
    nearest = ((channels[:, None] - palette) ** 2).sum(axis=2).argmin(axis=1).astype(np.uint8)
    found = Image.fromarray(nearest[index].reshape(frame.height, frame.width), "P")
    found.putpalette(palette.tobytes())
    return found


def write_gif(frames: list[Image.Image], path: Path) -> None:
    """Write the frames. All frames have the same colours, so an unchanged pixel costs almost nothing."""
    small = [frame.resize(FILM, Image.Resampling.LANCZOS) for frame in frames]
    palette = shared_palette(small)
    flat = [in_palette(frame, palette) for frame in small]
    flat[0].save(path, save_all=True, append_images=flat[1:], duration=FRAME_MS, loop=0, disposal=1, optimize=True)


def main() -> None:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--out", type=Path, default=PROJECT / "docs" / "explorer.gif")
    parser.add_argument("--work", type=Path, default=PROJECT / "outputs" / "film", help="for the weights and the page")
    arguments = parser.parse_args()

    arguments.work.mkdir(parents=True, exist_ok=True)
    vae = trained(arguments.work / "vae.safetensors")
    images, digits = sa.data.mnist_sample("test")
    page = arguments.work / "page.html"
    sa.explore(vae, page, images, digits, "Digits in two numbers")
    codes = vae.transform(images)
    walk = closed_walk(stations(codes, digits), FRAMES)
    write_gif(filmed(page, walk, codes), arguments.out)
    print(f"{arguments.out}: {FRAMES} frames, {arguments.out.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
