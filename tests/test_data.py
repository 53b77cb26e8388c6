"""The data package: files good and bad, search and download, loader, noise, toy sets. Local only."""

import gzip
import hashlib
import http.server
import os
import struct
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scratchae.backend import manual_seed
from scratchae.data import (
    DataError,
    DataLoader,
    datasets,
    download,
    fashion_mnist,
    fashion_mnist_sample,
    helix,
    mnist,
    mnist_sample,
    noise,
    read_idx,
    tilted_gaussian,
    write_idx,
)

FULL_DATA = os.environ.get("SCRATCHAE_DATA")
IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
PIXELS = np.random.default_rng(0).integers(0, 256, (7, 28, 28), dtype=np.uint8)
DIGITS = np.array([3, 1, 4, 1, 5, 9, 2], np.uint8)
VALID = struct.pack(">HBB2I", 0, 8, 2, 3, 4) + bytes(range(12))
ZIPPED = gzip.compress(VALID, mtime=0)


@pytest.fixture(autouse=True)
def own_surroundings(tmp_path, monkeypatch):
    """No user settings, an empty cache of our own, and no address outside this machine."""
    for name in ("SCRATCHAE_DATA", "SCRATCHAE_MIRROR"):
        monkeypatch.delenv(name, raising=False)
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


# --- IDX files ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.gz", "a"])
@pytest.mark.parametrize("shape", [(5,), (2, 3), (3, 28, 28), (0,), (2, 0, 3), (1,) * 64])
def test_idx_round_trip(tmp_path, name, shape):
    array = np.arange(np.prod(shape), dtype=np.int64).astype(np.uint8).reshape(shape)
    write_idx(tmp_path / name, array)
    back = read_idx(str(tmp_path / name), shape=(None, *shape[1:]))
    assert back.dtype == np.uint8 and back.shape == shape and np.array_equal(back, array)
    assert back.flags.writeable


def test_idx_bytes_follow_the_format_and_repeat(tmp_path):
    array = np.arange(12, dtype=np.uint8).reshape(3, 4)
    write_idx(tmp_path / "plain", array)
    assert (tmp_path / "plain").read_bytes() == VALID
    write_idx(tmp_path / "a.gz", array)
    write_idx(tmp_path / "b.gz", np.asfortranarray(array))
    assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "b.gz").read_bytes()
    assert (tmp_path / "a.gz").read_bytes()[4:8] == bytes(4), "gzip time stamp"


def test_write_idx_refuses_what_it_cannot_store(tmp_path):
    with pytest.raises(TypeError, match=r"float64 values; expected uint8.*astype"):
        write_idx(tmp_path / "a", np.zeros(3))
    with pytest.raises(ValueError, match="0-dimensional"):
        write_idx(tmp_path / "a", np.uint8(3) * np.ones((), np.uint8))
    assert files_below(tmp_path) == []


def flipped(content, position):
    return content[:position] + bytes([content[position] ^ 0xFF]) + content[position + 1 :]


BROKEN = {
    "empty": (b"", "cut off after 0 bytes"),
    "half a magic": (VALID[:3], "cut off after 3 bytes"),
    "half a header": (VALID[:9], "inside the header, after 9 bytes; expected a header of 12"),
    "truncated": (VALID[:-1], r"cut off after 11 values; expected 12 for the header's shape \(3, 4\)"),
    "truncated, zipped": (gzip.compress(VALID[:-1]), "cut off after 11 values; expected 12"),
    "trailing": (VALID + b"x" * 20, "more bytes after the last of 12 values"),
    "trailing, zipped": (gzip.compress(VALID + b"x"), "more bytes after the last of 12 values"),
    "garbage after gzip": (ZIPPED + b"garbage", "damaged or cut off gzip data"),
    "half a gzip": (ZIPPED[:-12], "damaged or cut off gzip data"),
    "garbled gzip": (flipped(ZIPPED, 10), "damaged or cut off gzip data.*expected a whole gzip file"),
    "wrong gzip sum": (flipped(ZIPPED, len(ZIPPED) - 6), "CRC check failed"),
    "html": (b"<!DOCTYPE html><p>404</p>", r"begins with b'<!DO' \(a web page\?\)"),
    "floats": (b"\0\0\x0d\2" + VALID[4:], "values of IDX type 0x0d; expected unsigned bytes, type 0x08"),
    "no dimensions": (b"\0\0\x08\0", "0 dimensions; expected 1 to 64"),
    "65 dimensions": (b"\0\0\x08\x41" + struct.pack(">65I", *[1] * 65) + b"x", "65 dimensions"),
    "a huge promise": (b"\0\0\x08\x03" + b"\xff" * 12, "at most 1073741824 bytes"),
    "a huge empty promise": (b"\0\0\x08\x03" + bytes(4) + b"\xff" * 8, "at most 1073741824 bytes"),
    "a promise beyond the file": (struct.pack(">HBBI", 0, 8, 1, 1 << 29) + bytes(9), "536870912 values"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_idx_file(tmp_path, case):
    content, message = BROKEN[case]
    (tmp_path / "some.gz").write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_idx(tmp_path / "some.gz")
    for part in (str(tmp_path / "some.gz"), "expected", "get a fresh copy"):
        assert part in str(caught.value)


def test_a_promise_the_file_cannot_hold_takes_no_memory(tmp_path, monkeypatch):
    (tmp_path / "bomb.gz").write_bytes(gzip.compress(struct.pack(">HBBI", 0, 8, 1, 1 << 30)))
    monkeypatch.setattr(np, "empty", lambda *_: pytest.fail("allocated before the check"))
    with pytest.raises(DataError, match="which cannot be in it"):
        read_idx(tmp_path / "bomb.gz")


def test_read_idx_checks_the_expected_shape_and_the_limit(tmp_path):
    (tmp_path / "a").write_bytes(VALID)
    with pytest.raises(DataError, match=r"shape \(3, 4\); expected shape \(any, 28, 28\)"):
        read_idx(tmp_path / "a", shape=(None, 28, 28))
    with pytest.raises(DataError, match="at most 11 bytes"):
        read_idx(tmp_path / "a", max_bytes=11)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read_idx(tmp_path / "nowhere")


@st.composite
def damaged(draw):
    content = bytearray(draw(st.sampled_from([VALID, ZIPPED])))
    for _ in range(draw(st.integers(0, 3))):
        content[draw(st.integers(0, len(content) - 1))] = draw(st.integers(0, 255))
    content = bytes(content[: draw(st.integers(0, len(content)))]) + draw(st.binary(max_size=4))
    return gzip.compress(content) if draw(st.booleans()) else content


@settings(max_examples=400, deadline=None, database=None)
@given(content=st.one_of(st.binary(max_size=60), st.binary(max_size=40).map(gzip.compress), damaged()))
def test_any_bytes_give_an_array_or_a_data_error(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "fuzzed"
    path.write_bytes(content)
    try:
        array = read_idx(path)
    except (DataError, OSError) as error:
        assert "fuzzed" in str(error)
    else:
        assert array.dtype == np.uint8 and array.nbytes < 2000


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
    """A server of the folder `site` as $SCRATCHAE_MIRROR, with a hash table that fits its files."""
    asked = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=str(tmp_path / "site"))

        def log_message(self, *_):
            asked.append(self.path)

    fill(tmp_path / "site" / "mnist")
    sums = {
        stem: hashlib.sha256((tmp_path / "site" / "mnist" / f"{stem}.gz").read_bytes()).hexdigest()
        for stem in (IMAGES, LABELS)
    }
    monkeypatch.setattr(datasets, "_SHA256", {"mnist": sums})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        monkeypatch.setenv("SCRATCHAE_MIRROR", f"http://127.0.0.1:{server.server_port}/")
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
    monkeypatch.setitem(datasets._SHA256["mnist"], IMAGES, "0" * 64)
    with pytest.raises(DataError) as caught:
        mnist()
    ways_out = ("SCRATCHAE_DATA", "root=", "mnist_sample()")
    for part in (f"{IMAGES}.gz", "http://127.0.0.1", "expected SHA-256 0000", *ways_out):
        assert part in str(caught.value)
    assert files_below(tmp_path / "cache") == [] and len(mirror) == 1, "a wrong file is not asked for twice"


def test_the_next_mirror_is_tried(tmp_path, mirror):
    base = os.environ["SCRATCHAE_MIRROR"] + "mnist/"
    urls = ["no address", base + "missing", base + f"{LABELS}.gz", base + f"{IMAGES}.gz"]
    download.fetch(urls, tmp_path / "new" / "file", datasets._SHA256["mnist"][IMAGES], 10_000)
    assert np.array_equal(read_idx(tmp_path / "new" / "file"), PIXELS)
    assert len(mirror) == 4, "one line for the error, three for the answers"


def test_size_limit_and_passing_faults(tmp_path, mirror):
    url = os.environ["SCRATCHAE_MIRROR"] + f"mnist/{IMAGES}.gz"
    with pytest.raises(DataError, match="more than 100 bytes"):
        download.fetch([url], tmp_path / "cache" / "file", datasets._SHA256["mnist"][IMAGES], 100)
    with pytest.raises(OSError, match=r"could not download file(.|\n)*127.0.0.1:9/(.|\n)*the way out"):
        download.fetch(["http://127.0.0.1:9/"], tmp_path / "cache" / "file", "", 100, ways_out="the way out")
    assert not (tmp_path / "cache").exists()


def test_an_interrupt_leaves_nothing(tmp_path, mirror, monkeypatch):
    def interrupted(self, *_):
        assert [name for name in files_below(tmp_path / "cache") if name.endswith(".part")]
        raise KeyboardInterrupt

    monkeypatch.setattr("http.client.HTTPResponse.read", interrupted)
    with pytest.raises(KeyboardInterrupt):
        mnist()
    assert not (tmp_path / "cache").exists()


def test_a_failure_spares_what_others_put_in_the_cache(tmp_path, mirror, monkeypatch):
    cache = fill(tmp_path / "cache" / "scratchae" / "mnist")
    (cache / f"{IMAGES}.gz").unlink()
    (cache / f".{IMAGES}.gz.1-00.part").touch()
    monkeypatch.setitem(datasets._SHA256["mnist"], IMAGES, "0" * 64)
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


# --- the loader -----------------------------------------------------------------------------------


def test_batches_in_order_are_views_that_cover_everything():
    x = np.arange(20).reshape(10, 2)
    loader = DataLoader(x, 4)
    batches = list(loader)
    assert len(loader) == 3 and [len(b) for b in batches] == [4, 4, 2]
    assert np.array_equal(np.concatenate(batches), x) and all(np.shares_memory(b, x) for b in batches)
    assert (loader.batch_size, loader.n_samples, loader.epoch) == (4, 10, 1)


@pytest.mark.parametrize(("n", "batch_size", "kept", "full"), [(10, 4, 3, 2), (8, 4, 2, 2), (3, 4, 1, 0)])
def test_drop_last(n, batch_size, kept, full):
    for drop_last, expected in ((False, kept), (True, full)):
        loader = DataLoader(np.arange(n), batch_size, drop_last=drop_last)
        assert len(loader) == len(list(loader)) == expected
    assert all(len(b) == batch_size for b in DataLoader(np.arange(n), batch_size, drop_last=True))


def test_shuffled_pairs_stay_together():
    x = np.arange(100, dtype=np.float32).reshape(100, 1)
    seen = [(a, b) for a, b in DataLoader((x, np.arange(100)), 7, shuffle=True, seed=1)]
    rows = np.concatenate([b for _, b in seen])
    assert np.array_equal(np.concatenate([a for a, _ in seen])[:, 0], rows)
    assert sorted(rows) == list(range(100)) and not np.array_equal(rows, np.arange(100))
    assert seen[0][0].dtype == np.float32 and isinstance(next(iter(DataLoader([x], 7))), tuple)


def test_the_order_follows_from_seed_and_epoch_alone():
    def order(loader):
        return np.concatenate(list(loader)).tolist()

    first, second = (DataLoader(np.arange(50), 8, shuffle=True, seed=3) for _ in range(2))
    epochs = [order(first) for _ in range(3)]
    assert epochs[0] != epochs[1] and first.epoch == 3
    assert epochs[0] == np.random.default_rng([3, 0]).permutation(50).tolist()
    second.epoch = 2
    assert order(second) == epochs[2]
    assert order(DataLoader(np.arange(50), 8, shuffle=True, seed=4)) != epochs[0]
    half = iter(first)
    next(half)
    assert first.epoch == 4 and order(first) == np.random.default_rng([3, 4]).permutation(50).tolist()


def test_without_a_seed_the_order_follows_manual_seed():
    orders = []
    for seed in (5, 5, 6):
        manual_seed(seed)
        orders.append(np.concatenate(list(DataLoader(np.arange(50), 8, shuffle=True))).tolist())
    assert orders[0] == orders[1] != orders[2]


def test_memory_map(tmp_path):
    np.save(tmp_path / "x.npy", np.arange(40).reshape(20, 2))
    x = np.load(tmp_path / "x.npy", mmap_mode="r")
    for shuffle in (False, True):
        batches = list(DataLoader(x, 6, shuffle=shuffle, seed=0))
        assert sorted(np.concatenate(batches)[:, 0]) == list(range(0, 40, 2))
        assert {type(b) for b in batches} == {np.ndarray}
        assert all(np.shares_memory(b, x) != shuffle for b in batches)


@pytest.mark.parametrize(
    ("arrays", "options", "error", "message"),
    [
        (np.zeros((0, 3)), {}, ValueError, r"empty data set of shape \(0, 3\)"),
        (np.zeros(()), {}, ValueError, "0-dimensional"),
        ((), {}, ValueError, "no arrays"),
        ((np.zeros(3), np.zeros(4), np.zeros(3)), {}, ValueError, r"lengths \[3, 4, 3\]"),
        ([1.0, 2.0], {}, TypeError, r"got a float; expected an array.*np.asarray"),
        ("abc", {}, TypeError, "got a str"),
        (np.zeros(3), {"batch_size": 0}, ValueError, "batch_size=0.*at least 1"),
        (np.zeros(3), {"batch_size": -2}, ValueError, "batch_size=-2.*at least 1"),
        (np.zeros(3), {"batch_size": 2.0}, TypeError, "batch_size=2.0.*integer"),
        (np.zeros(3), {"batch_size": True}, TypeError, "batch_size=True.*integer"),
        (np.zeros(3), {"seed": -1}, ValueError, "seed=-1.*at least 0"),
    ],
)
def test_loader_errors(arrays, options, error, message):
    with pytest.raises(error, match=message):
        DataLoader(arrays, **{"batch_size": 2, **options})


# --- noise ----------------------------------------------------------------------------------------

KINDS = [noise.gaussian, noise.masking, noise.salt_and_pepper]


@pytest.mark.parametrize("corrupt", KINDS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_noise_keeps_dtype_shape_and_input(corrupt, dtype):
    x = np.full((4, 1, 28, 28), 0.5, dtype)
    noisy = corrupt(x, 0.3, np.random.default_rng(0))
    assert noisy.dtype == dtype and noisy.shape == x.shape and not np.shares_memory(noisy, x)
    assert np.all(x == 0.5) and noisy.min() >= 0 and noisy.max() <= 1
    assert np.array_equal(noisy, corrupt(x, 0.3, np.random.default_rng(0)))
    assert not np.array_equal(noisy, corrupt(x, 0.3, np.random.default_rng(1)))
    assert np.array_equal(corrupt(x, 0, np.random.default_rng(0)), x)


def test_noise_statistics():
    x, rng = np.full(100_000, 0.5, np.float32), np.random.default_rng(0)
    rough = noise.gaussian(x, 0.1, rng)  # clipping at five standard deviations hardly matters
    assert rough.mean() == pytest.approx(0.5, abs=2e-3) and rough.std() == pytest.approx(0.1, abs=2e-3)
    masked = noise.masking(x, 0.3, rng)
    assert set(masked.tolist()) == {0.0, 0.5} and (masked == 0).mean() == pytest.approx(0.3, abs=0.01)
    speckled = noise.salt_and_pepper(x, 0.3, rng)
    shares = [(speckled == value).mean() for value in (0, 0.5, 1)]
    assert shares == pytest.approx([0.15, 0.7, 0.15], abs=0.01) and sum(shares) == 1
    assert not noise.masking(x, 1, rng).any()
    assert set(noise.salt_and_pepper(x, 1, rng).tolist()) == {0.0, 1.0}


@pytest.mark.parametrize("corrupt", KINDS)
@pytest.mark.parametrize("amount", [-0.1, float("nan"), float("inf"), "much", None])
def test_noise_refuses_an_amount_out_of_range(corrupt, amount):
    with pytest.raises(ValueError, match=f"{corrupt.__name__} noise got amount=.*expected a"):
        corrupt(np.zeros(3, np.float32), amount, np.random.default_rng(0))


def test_only_gaussian_noise_may_exceed_one():
    x, rng = np.full(9, 0.5, np.float32), np.random.default_rng(0)
    assert noise.gaussian(x, 2.0, rng).std() > 0.2
    for corrupt in KINDS[1:]:
        with pytest.raises(ValueError, match=r"amount=2.0; expected a number in \[0, 1\]"):
            corrupt(x, 2.0, rng)
    with pytest.raises(TypeError, match="got int64; expected an array of float32 or float64: use .astype"):
        noise.masking(np.zeros(3, np.int64), 0.1, rng)


# --- toy sets -------------------------------------------------------------------------------------


def test_helix_lies_on_its_curve():
    points, t = helix(500, turns=2.0, seed=1)
    assert points.shape == (500, 3) and t.shape == (500,) and points.dtype == t.dtype == np.float32
    curve = np.stack([np.cos(t), np.sin(t), t / (2 * np.pi) - 1], axis=1)
    assert np.abs(points - curve).max() < 1e-5 and np.abs(points).max() <= 1 + 1e-6
    assert 0 <= t.min() < 0.2 and 4 * np.pi - 0.2 < t.max() <= 4 * np.pi
    assert np.array_equal(points, helix(500, turns=2.0, seed=1)[0])
    assert not np.array_equal(points, helix(500, turns=2.0, seed=2)[0])
    off = helix(5000, turns=2.0, noise=0.1, seed=1)[0] - helix(5000, turns=2.0, seed=1)[0]
    assert off.std() == pytest.approx(0.1, abs=0.005)


def test_tilted_gaussian_has_the_documented_covariance():
    points, u = tilted_gaussian(50_000, noise=0.1, seed=0)
    assert points.shape == (50_000, 3) and points.dtype == u.dtype == np.float32
    axes = np.array([[2, 1, 2], [-2, 2, 1], [-1, -2, 2]]) / 3
    assert np.allclose(axes @ axes.T, np.eye(3)) and np.linalg.det(axes) == pytest.approx(1)
    expected = axes.T @ np.diag([1, 0.25, 0.01]) @ axes
    assert np.abs(np.cov(points.T) - expected).max() < 0.02
    assert np.abs(points @ axes[0] - u).max() < 1e-5
    flat = tilted_gaussian(100, noise=0, seed=0)[0]
    assert np.abs(flat @ axes[2]).max() < 1e-5


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: helix(0), r"helix\(n=0\): expected a whole number of points, at least 1"),
        (lambda: helix(2.5), r"helix\(n=2.5\)"),
        (lambda: helix(5, turns=0), r"turns=0\): expected a finite number above 0"),
        (lambda: tilted_gaussian(5, noise=-1), r"tilted_gaussian\(noise=-1\): expected a finite"),
        (lambda: helix(5, noise=float("nan")), r"noise=nan"),
    ],
)
def test_toy_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()
