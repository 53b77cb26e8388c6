"""What happens to a batch on its way to the model: transforms, changes of images, and bytes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import scratchae as sa
from scratchae import data, nn, optim
from scratchae import functional as F
from scratchae.backend import to_device

BYTES = np.random.default_rng(0).integers(0, 256, (20, 3, 6, 6), dtype=np.uint8)
IMAGES = BYTES.astype(np.float32) / 255


def noisy(batch: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    batch += generator.standard_normal(batch.shape, np.float32)  # of a copy
    return batch


def model(device: str = "cpu", dtype: Any = np.float32) -> Any:
    sa.manual_seed(0)
    return sa.Autoencoder.dense((108, 8), loss="mse").to(dtype).to(device)


def fitted(images: Any, device: str = "cpu", dtype: Any = np.float32, **fit: Any) -> Any:
    net = model(device, dtype)
    trainer = sa.Trainer(net, optim.Adam(net.parameters(), lr=0.01))
    trainer.fit(images, **{"epochs": 2, "batch_size": 8, "progress": False, **fit})
    return trainer


def weights(trainer: sa.Trainer) -> list[np.ndarray]:
    return [p.numpy() for p in trainer.model.parameters()]


# --- transforms of a loader -----------------------------------------------------------------------


def epoch(loader: sa.DataLoader, number: int = 0, **place: Any) -> list[np.ndarray]:
    return list(loader.placed(number, **place))


def loader(shuffle: bool = True, transform: Any = noisy, seed: int = 3, arrays: Any = IMAGES) -> sa.DataLoader:
    return sa.DataLoader(arrays, 8, shuffle, seed, transform=transform)


@pytest.mark.parametrize("shuffle", [False, True])
def test_the_draws_follow_from_seed_epoch_and_batch_alone(shuffle: bool) -> None:
    before = IMAGES.copy()
    first, again = epoch(loader(shuffle)), epoch(loader(shuffle))
    assert [len(batch) for batch in first] == [8, 8, 4]
    assert all(map(np.array_equal, first, again))
    assert all(map(np.array_equal, first[1:], epoch(loader(shuffle), skip=1)))
    np.testing.assert_array_equal(IMAGES, before)
    plain = epoch(loader(shuffle, None))
    noises = [batch - clean for batch, clean in zip(first, plain, strict=True)]
    others = [epoch(loader(shuffle), 1)[0] - epoch(loader(shuffle, None), 1)[0]]
    others += [epoch(loader(shuffle, seed=4))[0] - epoch(loader(shuffle, None, seed=4))[0], noises[1]]
    assert all(abs(noises[0] - other).mean() > 0.5 for other in others)
    source = np.random.default_rng([3, 0, 2])
    np.testing.assert_allclose(noises[1], source.standard_normal(noises[1].shape, np.float32), atol=1e-6)


def test_the_first_batch_does_not_draw_the_numbers_of_the_order() -> None:
    drawn: list[Any] = []
    epoch(loader(transform=lambda batch, generator: drawn.append(generator.permutation(20)) or batch))
    assert not np.array_equal(drawn[0], np.random.default_rng([3, 0]).permutation(20))


@pytest.mark.parametrize("size", [2, 3])
def test_every_number_of_processes_gets_the_same_batches(size: int) -> None:
    def labelled(batch: Any, generator: Any) -> Any:
        images, labels = batch
        return noisy(images, generator), labels + generator.integers(9)  # a draw that is not per sample

    pairs = loader(transform=labelled, arrays=(IMAGES, np.arange(20)))
    whole = list(pairs.placed(0))
    parts = [pairs.placed(0, part=(rank, size)) for rank in range(size)]
    for batch, *cut in zip(whole, *parts, strict=True):
        for array, *pieces in zip(batch, *cut, strict=True):
            np.testing.assert_array_equal(np.concatenate(pieces), array)


def test_the_batches_are_the_same_on_every_device(device: str) -> None:
    for here, there in zip(epoch(loader()), epoch(loader(), device=device), strict=True):
        np.testing.assert_array_equal(to_device(there, "cpu"), here)
    on_device = sa.DataLoader(to_device(IMAGES, device), 8, True, 3, transform=data.flip)
    for here, there in zip(epoch(loader(transform=data.flip)), epoch(on_device), strict=True):
        np.testing.assert_array_equal(to_device(there, "cpu"), here)


def test_a_transform_makes_pairs_of_images() -> None:
    trainer = fitted(loader(transform=lambda clean, generator: (noisy(clean.copy(), generator), clean)))
    noisy_batch, clean = next(iter(loader(transform=lambda x, g: (noisy(x.copy(), g), x))))
    assert abs(noisy_batch - clean).mean() > 0.5 and len(trainer.history["loss"]) == 2


@pytest.mark.parametrize("stop_after", [1, 2, 4])
def test_a_run_goes_on_within_an_epoch_of_transformed_batches(stop_after: int, tmp_path: Path) -> None:
    class Stop(sa.Callback):
        def after_forward(self, run: Any) -> None:
            if run.step == stop_after and stops:
                raise KeyboardInterrupt

    def go(path: Path, transform: Any = noisy) -> list[np.ndarray]:
        net = model()
        trainer = sa.Trainer(net, optim.Adam(net.parameters(), lr=0.01), [Stop()])
        trainer.fit(loader(transform=transform), validation=loader(transform=noisy), epochs=2, checkpoint=path,
                    resume=True, checkpoint_every=1, progress=False)  # fmt: skip
        return [*weights(trainer), np.array(trainer.history["val_loss"])]

    stops = False
    whole = go(tmp_path / "whole.safetensors")
    stops = True
    with pytest.raises(KeyboardInterrupt):
        go(tmp_path / "run.safetensors")
    stops = False
    with pytest.raises(ValueError, match="nothing was loaded. This one has transform 'flip', not 'noisy'"):
        go(tmp_path / "run.safetensors", data.flip)
    for a, b in zip(go(tmp_path / "run.safetensors"), whole, strict=True):
        np.testing.assert_array_equal(a, b)


BAD_TRANSFORMS: dict[str, tuple[Any, type[Exception], str]] = {
    "a list": (lambda batch, generator: [batch, batch], TypeError, "the transform returned a list; expected"),
    "nothing": (lambda batch, generator: None, TypeError, "the transform returned a NoneType"),
    "no array": (lambda batch, generator: (), TypeError, "the transform returned an empty tuple"),
    "a number": (lambda batch, generator: (batch, 3), TypeError, "what the transform returns is a int"),
    "fewer": (lambda batch, generator: batch[1:], ValueError, r"shape \(7, 3, 6, 6\) of 8 samples; expected \(8,"),
    "a sum": (lambda batch, generator: np.array(batch.sum()), ValueError, r"made shape \(\) of 8 samples"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_TRANSFORMS)
def test_a_transform_that_spoils_the_batch_is_told(case: str) -> None:
    transform, error, message = BAD_TRANSFORMS[case]
    with pytest.raises(error, match=message):
        epoch(loader(transform=transform))


def test_a_transform_is_a_function() -> None:
    with pytest.raises(TypeError, match=r"DataLoader\(transform='flip'\): expected a function of \(batch, generator\)"):
        loader(transform="flip")


# --- changes of images ----------------------------------------------------------------------------


class Fixed:
    """A generator whose draws are known."""

    def __init__(self, *draws: Any):
        self.draws = list(draws)

    def random(self, n: int) -> np.ndarray:
        return np.array(self.draws.pop(0), float)

    def uniform(self, low: float, high: float, n: int) -> np.ndarray:
        return np.array(self.draws.pop(0), float)

    def integers(self, low: int, high: int, n: int) -> np.ndarray:
        return np.array(self.draws.pop(0))


@pytest.mark.parametrize("images", [IMAGES[:2], BYTES[:2], IMAGES[:2, 0], IMAGES[:2].astype(float)], ids=str)
def test_images_are_flipped_cut_and_turned(images: np.ndarray, device: str) -> None:
    there = to_device(images, device)

    def same(found: Any, wanted: np.ndarray, tolerance: float = 0.0) -> None:
        assert found.dtype == images.dtype
        np.testing.assert_allclose(to_device(found, "cpu"), wanted, atol=tolerance)

    same(data.flip(there, Fixed([0.4, 0.6])), np.stack([images[0, ..., ::-1], images[1]]))
    wide = np.pad(images, [(0, 0)] * (images.ndim - 2) + [(2, 2), (2, 2)])
    cut = data.crop(there, Fixed([0, 3], [4, 1]), padding=2)
    same(cut, np.stack([wide[0, ..., 0:6, 4:10], wide[1, ..., 3:9, 1:7]]))
    small = data.crop(there, Fixed([1, 0], [0, 2]), size=(5, 4), padding=0)
    same(small, np.stack([images[0, ..., 1:6, 0:4], images[1, ..., 0:5, 2:6]]))
    turned = data.rotate(there, Fixed([90.0, -90.0]), degrees=90)
    same(turned, np.stack([np.rot90(images[0], 1, (-2, -1)), np.rot90(images[1], -1, (-2, -1))]), 2e-5)


@pytest.mark.parametrize(("height", "width"), [(6, 6), (5, 8), (1, 7)])
def test_rotation_is_the_bilinear_mean_of_four_pixels(height: int, width: int) -> None:
    images = np.random.default_rng(1).random((4, 2, height, width))
    angles = [3.0, -17.0, 45.0, 0.0]
    found = data.rotate(images, Fixed(angles), degrees=90)  # type: ignore[arg-type]
    wanted = np.zeros_like(images)
    for i, angle in enumerate(np.deg2rad(angles)):
        for row in range(height):
            for column in range(width):
                y, x = row - (height - 1) / 2, column - (width - 1) / 2
                source_y = math.cos(angle) * y + math.sin(angle) * x + (height - 1) / 2
                source_x = math.cos(angle) * x - math.sin(angle) * y + (width - 1) / 2
                for r in (math.floor(source_y), math.floor(source_y) + 1):
                    for c in (math.floor(source_x), math.floor(source_x) + 1):
                        if 0 <= r < height and 0 <= c < width:
                            share = (1 - abs(source_y - r)) * (1 - abs(source_x - c))
                            wanted[i, :, row, column] += share * images[i, :, r, c]
    np.testing.assert_allclose(found, wanted, atol=1e-12)


def test_draws_are_spread_over_their_range() -> None:
    generator = np.random.default_rng(0)
    marked = np.zeros((4000, 5, 5), np.float32)
    marked[:, 2, 0] = 1
    flips = data.flip(marked, generator, probability=0.3)
    assert flips[:, 2, 4].mean() == pytest.approx(0.3, abs=0.03)
    crops = data.crop(marked, generator, padding=2)
    places = [(crops[:, i, j] == 1).mean() for i in range(5) for j in range(3)]
    assert places == pytest.approx([1 / 25] * 15, abs=0.02)
    assert np.array_equal(data.rotate(marked, generator, degrees=0), marked)
    assert data.scale(BYTES).dtype == np.float32 and np.array_equal(data.scale(BYTES), IMAGES)


def test_changes_are_transforms_and_keep_empty_batches() -> None:
    for change in (data.flip, data.crop, data.rotate, data.scale):
        batches = epoch(loader(transform=change, arrays=BYTES))
        assert [batch.shape for batch in batches] == [(8, 3, 6, 6), (8, 3, 6, 6), (4, 3, 6, 6)]
        assert change(BYTES[:0], np.random.default_rng(0)).shape == (0, 3, 6, 6)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda g: data.flip(IMAGES[:, 0, 0], g), ValueError, r"flip got shape \(20, 6\); expected \(N, C, H, W\) or"),
        (lambda g: data.rotate((IMAGES, IMAGES), g), TypeError, "rotate got a tuple; .*pass the images alone"),
        (lambda g: data.crop(IMAGES, g, size=15), ValueError, "size=15 of an image of side 6 with padding 4; exp"),
        (lambda g: data.crop(IMAGES, g, size=(2, 3, 4)), ValueError, r"crop: size=\(2, 3, 4\); expected a side"),
        (lambda g: data.flip(IMAGES, g, 1.5), ValueError, r"flip: probability=1.5; expected a number in \[0, 1\]"),
        (lambda g: data.rotate(IMAGES, g, -1), ValueError, r"rotate: degrees=-1; expected a number in \[0, 180\]"),
        (lambda g: data.scale(IMAGES, g), TypeError, "scale got float32; expected uint8"),
        (lambda g: data.scale([1, 2], g), TypeError, "scale got a list"),
    ],
)
def test_changes_of_what_is_no_image_are_refused(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call(np.random.default_rng(0))


# --- bytes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bytes_are_numbers_in_the_unit_interval_for_every_method(dtype: Any, device: str, tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", BYTES)
    file = np.load(tmp_path / "images.npy", mmap_mode="r")
    wanted = fitted(BYTES.astype(dtype) / 255, device, dtype, validation=IMAGES.astype(dtype))
    for given in (BYTES, file, sa.DataLoader(BYTES, 8, True, 0)):
        found = fitted(given, device, dtype, validation=BYTES)
        assert all(map(np.array_equal, weights(found), weights(wanted)))
        np.testing.assert_allclose(found.history["val_loss"], wanted.history["val_loss"], rtol=1e-6)
    assert found.evaluate(BYTES) == found.evaluate(BYTES.astype(dtype) / 255)
    for name in ("reconstruct", "transform", "reconstruction_error"):
        method = getattr(found.model, name)
        np.testing.assert_array_equal(method(BYTES, batch_size=7), method(BYTES.astype(dtype) / 255, batch_size=7))


def test_bytes_stay_bytes_until_the_batch() -> None:
    seen: list[Any] = []

    class Look(sa.DataLoader):
        def __iter__(self) -> Any:
            for batch in super().__iter__():
                seen.append(batch.dtype)
                yield batch

    images = Look(BYTES, 8)
    fitted(images)
    assert set(seen) == {np.dtype(np.uint8)} and images.sources[0] is BYTES


def test_labels_of_bytes_stay_labels_and_pairs_of_images_are_both_scaled() -> None:
    labels = np.random.default_rng(1).integers(0, 3, 20).astype(np.uint8)
    given: list[tuple[Any, Any]] = []

    def note(output: Any, target: Any) -> Any:
        given.append((output.dtype, target.data.copy()))
        return F.mean(output * output)

    net = nn.Sequential(nn.Flatten(), nn.Linear(108, 3))
    trainer = sa.Trainer(net, optim.SGD(net.parameters(), lr=0.1), loss=note)
    trainer.evaluate((BYTES, labels))
    assert given[0][0] == np.float32 and np.array_equal(given[0][1], labels)
    trainer.evaluate((BYTES, BYTES))
    np.testing.assert_array_equal(given[1][1], IMAGES)
    trainer.evaluate((IMAGES, BYTES))  # as before: the first array has no bytes
    np.testing.assert_array_equal(given[2][1], BYTES)


def test_a_denoiser_takes_pairs_of_bytes() -> None:
    sa.manual_seed(0)
    denoiser = sa.DenoisingAutoencoder.dense((108, 8))
    trainer = sa.Trainer(denoiser, optim.SGD(denoiser.parameters(), lr=0.1))
    darker = BYTES // 2
    assert trainer.evaluate((darker, BYTES)) == trainer.evaluate((darker.astype(np.float32) / 255, IMAGES))
