"""MNIST and Fashion-MNIST: where their files are looked for, and how they are downloaded. Local only."""

import hashlib
import http.server
import os
import struct
import threading

import numpy as np
import pytest

from scratchae.data import (
    DataError,
    datasets,
    download,
    fashion_mnist,
    fashion_mnist_sample,
    mnist,
    mnist_sample,
    read_idx,
    write_idx,
)

FULL_DATA = os.environ.get("SCRATCHAE_DATA")
IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
PIXELS = np.random.default_rng(0).integers(0, 256, (7, 28, 28), dtype=np.uint8)
DIGITS = np.array([3, 1, 4, 1, 5, 9, 2], np.uint8)
VALID = struct.pack(">HBB2I", 0, 8, 2, 3, 4) + bytes(range(12))


@pytest.fixture(autouse=True)
def own_surroundings(tmp_path, monkeypatch):
    """No user settings, an empty cache of our own, and no address outside this machine."""
    monkeypatch.delenv("SCRATCHAE_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(datasets, "_MIRRORS", {"mnist": (), "fashion-mnist": ()})


def fill(folder, pixels=PIXELS, labels=DIGITS, suffix=".gz"):
    folder.mkdir(parents=True, exist_ok=True)
    write_idx(folder / f"{IMAGES}{suffix}", pixels)
    write_idx(folder / f"{LABELS}{suffix}", labels)
    return folder


def files_below(folder):
    return sorted(path.name for path in folder.rglob("*"))


# --- the data sets --------------------------------------------------------------------------------


@pytest.mark.parametrize("load", [mnist_sample, fashion_mnist_sample])
@pytest.mark.parametrize(("split", "per_class"), [("train", 500), ("test", 100)])
def test_samples(load, split, per_class):
    images, labels = load(split)
    assert images.shape == (10 * per_class, 1, 28, 28) and images.dtype == np.float32
    assert labels.shape == (10 * per_class,) and labels.dtype == np.uint8
    assert images.min() == 0 and images.max() == 1
    assert np.bincount(labels).tolist() == [per_class] * 10
    assert len(set(labels[:50])) >= 8, "sorted by class"
    assert np.array_equal(np.rint(images * 255) / np.float32(255), images)


def test_samples_differ_and_are_small():
    images, _ = mnist_sample()
    clothes, _ = fashion_mnist_sample()
    assert images.mean() == pytest.approx(0.1307, abs=0.005)  # the published mean of MNIST
    assert clothes.mean() == pytest.approx(0.2860, abs=0.005)  # and of Fashion-MNIST
    assert sum(f.stat().st_size for f in datasets._SAMPLES.rglob("*")) < 5_000_000
    for name, notice in {"mnist": "by-sa/3.0", "fashion-mnist": "Copyright (c) 2017 Zalando SE"}.items():
        assert notice in (datasets._SAMPLES / name / "LICENSE.txt").read_text()


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
@pytest.mark.parametrize(("split", "n"), [("train", 60_000), ("test", 10_000)])
def test_full_sets_where_present_else_samples(name, split, n, monkeypatch):
    """With $SCRATCHAE_DATA the full sets, without it the samples: the same assertions for both."""
    load = {"mnist": mnist, "fashion-mnist": fashion_mnist}[name]
    if FULL_DATA:
        monkeypatch.setenv("SCRATCHAE_DATA", FULL_DATA)
        images, labels = load(split, download=False)
    else:
        images, labels = load(split, root=datasets._SAMPLES / name)
    assert len(images) == len(labels) == (n if FULL_DATA else n // 10 if split == "test" else 5000)
    assert images.dtype == np.float32 and images.shape[1:] == (1, 28, 28)
    mean = {"mnist": 0.131, "fashion-mnist": 0.286}[name]
    assert images.mean() == pytest.approx(mean, abs=0.003 if FULL_DATA else 0.012)
    assert np.bincount(labels).min() >= 0.08 * len(labels)


def test_conversion_is_exact_and_stays_float32(tmp_path):
    images, labels = mnist(root=fill(tmp_path))
    assert images.dtype == np.float32 and images.shape == (7, 1, 28, 28)
    assert np.array_equal(images[:, 0], PIXELS.astype(np.float32) / np.float32(255))
    assert np.array_equal(labels, DIGITS)


@pytest.mark.parametrize("load", [mnist, fashion_mnist, mnist_sample, fashion_mnist_sample])
def test_an_unknown_split_names_the_known_ones(load):
    with pytest.raises(ValueError, match="split='valid' does not exist; expected one of 'train', 'test'"):
        load("valid")


def test_search_order(tmp_path, monkeypatch):
    def marked(value):
        return np.full((1, 28, 28), value, np.uint8)

    monkeypatch.setenv("SCRATCHAE_DATA", str(tmp_path / "shared"))
    found = []
    for value, folder in enumerate(["cache/scratchae/mnist", "shared/mnist", "root"]):
        fill(tmp_path / folder, marked(value), DIGITS[:1], suffix="" if value == 1 else ".gz")
        root = tmp_path / "root" if folder == "root" else None
        found.append(round(float(mnist(root=root, download=False)[0].max()) * 255))
    assert found == [0, 1, 2]


def test_fashion_mnist_has_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("SCRATCHAE_DATA", str(tmp_path))
    fill(tmp_path / "fashion-mnist")
    assert len(fashion_mnist(download=False)[0]) == 7
    with pytest.raises(FileNotFoundError, match="train-images"):
        mnist(download=False)


def test_a_fault_in_root_is_no_reason_to_look_elsewhere(tmp_path, monkeypatch):
    monkeypatch.setenv("SCRATCHAE_DATA", str(tmp_path / "shared"))
    fill(tmp_path / "shared" / "mnist")
    root = fill(tmp_path / "root")
    (root / f"{LABELS}.gz").write_bytes(b"<html>")
    with pytest.raises(DataError, match=r"root.*train-labels.*web page"):
        mnist(root=root)
    (root / f"{LABELS}.gz").unlink()
    with pytest.raises(FileNotFoundError, match=r"root: found neither train-labels-idx1-ubyte.gz nor"):
        mnist(root=root)
    (tmp_path / "shared" / "mnist" / f"{IMAGES}.gz").unlink()
    with pytest.raises(FileNotFoundError, match=r"shared.mnist: found neither train-images"):
        mnist()


def test_download_false_names_places_and_ways_out(tmp_path, monkeypatch):
    monkeypatch.setenv("SCRATCHAE_DATA", str(tmp_path / "shared"))
    with pytest.raises(FileNotFoundError) as caught:
        fashion_mnist(download=False)
    places = [str(tmp_path / "shared"), str(tmp_path / "cache" / "scratchae" / "fashion-mnist")]
    for part in (*places, "download=True", "root=", "SCRATCHAE_DATA", "fashion_mnist_sample()"):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("pixels", "labels", "message"),
    [
        (PIXELS, DIGITS[:6], "holds 7 images, but .* holds 6 labels"),
        (PIXELS[:0], DIGITS[:0], "holds 0 images; expected at least one"),
        (PIXELS[:, :27], DIGITS, r"shape \(7, 27, 28\); expected shape \(any, 28, 28\)"),
        (PIXELS, DIGITS + np.uint8(1), "label 10 at position 5; expected 0 to 9"),
        (PIXELS, PIXELS, r"labels.*expected shape \(any\)"),
    ],
)
def test_images_and_labels_must_fit(tmp_path, pixels, labels, message):
    with pytest.raises(DataError, match=message):
        mnist(root=fill(tmp_path, pixels, labels))


# --- downloads ------------------------------------------------------------------------------------


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """A server of the folder `site` as the only mirror, with a hash table that fits its files."""
    asked = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=str(tmp_path / "site"))

        def log_message(self, *_):
            asked.append(self.path)

    site = fill(tmp_path / "site" / "mnist")
    sums = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in site.iterdir()}
    monkeypatch.setattr(datasets, "_SHA256", {"mnist": sums})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        monkeypatch.setattr(datasets, "_MIRRORS", {"mnist": (f"http://127.0.0.1:{server.server_port}/mnist/",)})
        yield asked
        server.shutdown()


def test_download_once_then_from_the_cache(tmp_path, mirror):
    images, labels = mnist()
    assert np.array_equal(np.rint(images[:, 0] * 255), PIXELS) and np.array_equal(labels, DIGITS)
    cache = tmp_path / "cache" / "scratchae" / "mnist"
    assert files_below(cache) == [f"{IMAGES}.gz", f"{LABELS}.gz"]
    assert mirror == [f"/mnist/{IMAGES}.gz", f"/mnist/{LABELS}.gz"]
    assert len(mnist()[0]) == 7 and len(mirror) == 2


def test_a_wrong_sum_is_refused_and_leaves_nothing(tmp_path, mirror, monkeypatch):
    monkeypatch.setitem(datasets._SHA256["mnist"], f"{IMAGES}.gz", "0" * 64)
    with pytest.raises(DataError) as caught:
        mnist()
    ways_out = ("SCRATCHAE_DATA", "root=", "mnist_sample()")
    for part in (f"{IMAGES}.gz", "http://127.0.0.1", "expected SHA-256 0000", *ways_out):
        assert part in str(caught.value)
    assert files_below(tmp_path / "cache") == [] and len(mirror) == 1, "a wrong file is not asked for twice"


def test_the_next_mirror_is_tried(tmp_path, mirror):
    (base,), sum_ = datasets._MIRRORS["mnist"], datasets._SHA256["mnist"][f"{IMAGES}.gz"]
    urls = ["no address", base + "missing", base + f"{LABELS}.gz", base + f"{IMAGES}.gz"]
    download.fetch(urls, tmp_path / "new" / "file", sum_, "")
    assert np.array_equal(read_idx(tmp_path / "new" / "file"), PIXELS)
    assert len(mirror) == 4, "one line for the error, three for the answers"


def test_size_limit_and_passing_faults(tmp_path, mirror, monkeypatch):
    (base,), sum_ = datasets._MIRRORS["mnist"], datasets._SHA256["mnist"][f"{IMAGES}.gz"]
    monkeypatch.setattr(download, "_LARGEST", 100)
    with pytest.raises(DataError, match="more than 100 bytes"):
        download.fetch([base + f"{IMAGES}.gz"], tmp_path / "cache" / "file", sum_, "")
    assert len(mirror) == 1, "what is too large is not asked for twice"
    with pytest.raises(OSError, match=r"could not download file(.|\n)*127.0.0.1:9/(.|\n)*the way out"):
        download.fetch(["http://127.0.0.1:9/"], tmp_path / "cache" / "file", "", "the way out")
    assert not (tmp_path / "cache").exists()


def test_a_passing_fault_gets_a_second_try(tmp_path, mirror, monkeypatch):
    faults = [TimeoutError("the first time")]
    read = http.client.HTTPResponse.read

    def failing_once(self, *arguments):
        if faults:
            raise faults.pop()
        return read(self, *arguments)

    monkeypatch.setattr("http.client.HTTPResponse.read", failing_once)
    assert len(mnist()[0]) == 7 and len(mirror) == 3


@pytest.mark.parametrize("where", ["http.client.HTTPResponse.read", "os.fsync", "os.replace"])
def test_an_interrupt_leaves_nothing(tmp_path, mirror, monkeypatch, where):
    def interrupted(*_):
        assert where != "os.replace" or [name for name in files_below(tmp_path / "cache") if name.endswith(".part")]
        raise KeyboardInterrupt

    monkeypatch.setattr(where, interrupted)
    with pytest.raises(KeyboardInterrupt):
        mnist()
    assert not (tmp_path / "cache").exists()


def test_a_failure_spares_what_others_put_in_the_cache(tmp_path, mirror, monkeypatch):
    cache = fill(tmp_path / "cache" / "scratchae" / "mnist")
    (cache / f"{IMAGES}.gz").unlink()
    (cache / f".{IMAGES}.gz.1-00.part").touch()
    monkeypatch.setitem(datasets._SHA256["mnist"], f"{IMAGES}.gz", "0" * 64)
    with pytest.raises(DataError):
        mnist()
    assert files_below(cache) == [f".{IMAGES}.gz.1-00.part", f"{LABELS}.gz"]


def test_two_downloads_at_once(tmp_path, mirror):
    results = []
    threads = [threading.Thread(target=lambda: results.append(mnist()[0])) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [len(images) for images in results] == [7] * 4
    assert files_below(tmp_path / "cache" / "scratchae" / "mnist") == [f"{IMAGES}.gz", f"{LABELS}.gz"]


def test_a_cache_that_cannot_be_written(tmp_path, mirror):
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(DataError, match="cannot write train-images.*to the cache folder.*XDG_CACHE_HOME"):
        mnist()
    assert mirror == [], "found out before the download"
