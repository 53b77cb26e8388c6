"""Figures: loading and saving, points, errors. Curves and images have files of their own beside this one."""

import pickle
import re
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("matplotlib")
from matplotlib.colors import to_rgba
from matplotlib.image import imread

from scratchae import LearningRates, plotting

rng = np.random.default_rng(0)


def legend_labels(owner):
    return [text.get_text() for text in owner.get_texts()]


# --- loading and saving


def test_importing_needs_no_matplotlib_and_drawing_no_pyplot():
    script = (
        "import sys, scratchae.plotting as p; assert 'matplotlib' not in sys.modules\n"
        "p.loss_curves({'loss': [1.0]}); p.points_3d({'a': [[0.0, 1.0, 2.0]]})._repr_png_()\n"
        "assert 'matplotlib' in sys.modules and 'matplotlib.pyplot' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "draw",
    [
        lambda path: plotting.loss_curves({"loss": [0.3, 0.2], "val_loss": [0.4, 0.3]}, path),
        lambda path: plotting.reconstructions(np.zeros((3, 1, 8, 8)), np.ones((3, 64)), path),
        lambda path: plotting.image_rows({"colour": np.zeros((2, 3, 8, 6))}, path),
        lambda path: plotting.latent_scatter(np.eye(2), [0, 1], path),
        lambda path: plotting.points_3d({"a": np.eye(3), "b": np.eye(3)}, [0.0, 0.5, 1.0], path),
        lambda path: plotting.filters(np.eye(4), path),
        lambda path: plotting.image_grid(np.zeros((5, 8, 6)), path, title="five"),
        lambda path: plotting.curves({"β = ½": ([1, 10], [0.3, 0.2])}, path, "β", "error", "naïve", xlog=True),
        lambda path: plotting.bars({"Übung": {"a": 1, "b": 2}}, path, "accuracy"),
        lambda path: plotting.roc_curves({"error": ([0, 0, 1], [0, 1, 1])}, path),
        lambda path: plotting.score_histogram({"normal": [0.1, 0.2], "odd": [0.5]}, 0.3, path),
        lambda path: plotting.series_rows({"a": np.ones((2, 10)), "b": np.zeros((2, 1, 10))}, path),
        lambda path: plotting.reconstructions(np.ones((2, 10)), np.zeros((2, 10)), path),
        lambda path: LearningRates([0.1, 1.0], [2.0, 1.0]).plot(path),
    ],
    ids=["loss_curves", "reconstructions", "image_rows", "latent_scatter", "points_3d", "filters"]
    + ["image_grid", "curves", "bars", "roc_curves", "score_histogram", "series_rows", "series", "rates"],
)
def test_every_figure_is_saved_by_suffix_in_new_folders(draw, tmp_path):
    for suffix, start in ((".png", b"\x89PNG\r\n"), (".svg", b"<?xml"), (".pdf", b"%PDF")):
        path = tmp_path / "new" / "folder" / f"figure{suffix}"
        figure = draw(path)
        assert path.read_bytes().startswith(start)
    height, width, channels = imread(path.with_suffix(".png")).shape
    assert height > 50 and width > 50 and channels == 4
    assert figure._repr_png_().startswith(b"\x89PNG")
    assert len(pickle.loads(pickle.dumps(figure)).axes) == len(figure.axes)


# --- points


def test_latent_scatter_colours_classes_and_names_them():
    codes = rng.normal(size=(4, 2))
    figure = plotting.latent_scatter(codes, [7, 3, 7, 9], title="codes", label_name="digit")
    (ax,) = figure.axes
    (points,) = ax.collections
    np.testing.assert_array_equal(points.get_offsets(), codes)
    expected = [to_rgba(plotting.PALETTE[k], 0.6) for k in (1, 0, 1, 2)]
    np.testing.assert_allclose(points.get_facecolors(), expected)
    (legend,) = figure.legends
    assert legend_labels(legend) == ["3", "7", "9"] and legend.get_title().get_text() == "digit"
    assert [to_rgba(dot.get_color()) for dot in legend.legend_handles] == [to_rgba(c) for c in plotting.PALETTE[:3]]
    assert ax.get_aspect() == 1 and ax.get_title(loc="left") == "codes"
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("latent dimension 1", "latent dimension 2")


def test_latent_scatter_gives_floats_a_colour_bar_and_no_labels_nothing():
    figure = plotting.latent_scatter(rng.normal(size=(3, 2)), [0.0, 2.0, 1.0], label_name="angle (rad)")
    ax, bar = figure.axes
    np.testing.assert_array_equal(ax.collections[0].get_array(), [0, 2, 1])
    assert bar.get_ylim() == (0, 2) and bar.get_ylabel() == "angle (rad)" and not figure.legends
    figure = plotting.latent_scatter(rng.normal(size=(3, 2)))
    assert len(figure.axes) == 1 and not figure.legends
    assert legend_labels(plotting.latent_scatter(np.eye(2), ["shoe", "bag"]).legends[0]) == ["bag", "shoe"]


def test_points_3d_panels_share_limits_and_colours():
    sets = {"original": rng.normal(size=(5, 3)), "reconstruction": 3 * rng.normal(size=(5, 3))}
    left, right, bar = plotting.points_3d(sets, np.arange(5.0), colour_name="t").axes
    assert [left.get_title(), right.get_title(), bar.get_ylabel()] == ["original", "reconstruction", "t"]
    low, high = np.concatenate(list(sets.values())).min(0), np.concatenate(list(sets.values())).max(0)
    for ax, points in zip((left, right), sets.values(), strict=True):
        np.testing.assert_allclose([ax.get_xlim(), ax.get_ylim(), ax.get_zlim()], np.c_[low, high])
        np.testing.assert_array_equal(np.transpose(ax.collections[0]._offsets3d), points)
        np.testing.assert_array_equal(ax.collections[0].get_array(), np.arange(5))
    assert len(plotting.points_3d({"flat": np.zeros((2, 3))}).axes) == 1


# --- errors


@pytest.mark.parametrize(
    "draw, message",
    [
        (lambda: plotting.loss_curves({}), "nothing to plot: got [], expected a loss for at least one epoch"),
        (lambda: plotting.loss_curves({"loss": [], "seconds": [1]}), "got ['loss', 'seconds']"),
        (lambda: plotting.loss_curves({"loss": [np.nan]}), "nothing to plot: got ['loss']"),
        (lambda: plotting.loss_curves({"loss": [1, 2], "val_loss": [1]}), "one number per epoch for every name; fill"),
        (lambda: plotting.loss_curves({"loss": [1, 2], "val_loss": [1]}), "shapes {'loss': (2,), 'val_loss': (1,)}"),
        (lambda: plotting.loss_curves({"loss": [[1, 2]]}), "(1, 2)], expected two sequences of one length"),
        (lambda: plotting.image_rows({}), "rows is empty"),
        (lambda: plotting.image_rows({"x": np.ones((2, 10))}), "'x': 10 values an image, expected a square number"),
        (lambda: plotting.image_rows({"x": np.ones((0, 9))}), "'x': got shape (0, 9)"),
        (lambda: plotting.image_rows({"x": np.ones(9)}), "'x': got shape (9,), expected (N, 1, H, W)"),
        (lambda: plotting.image_rows({"x": np.ones((2, 8, 8, 3))}), "channels before height and width"),
        (lambda: plotting.image_rows({"x": [["a"]]}), "expected numbers"),
        (lambda: plotting.image_rows({"x": np.ones((2, 9))}, n=0), "n=0; expected numbers and n >= 1"),
        (lambda: plotting.image_rows({"x": np.full((1, 4), 255, np.int16)}), "up to 255, expected [0, 1]; divide"),
        (lambda: plotting.reconstructions(np.ones((12, 4)), np.ones((11, 4))), "got shapes (12, 4) and (11, 4); pass"),
        (lambda: plotting.reconstructions(np.ones((2, 4)), np.ones((2, 9))), "images of one size"),
        (lambda: plotting.filters(np.ones((2, 3, 5, 5))), "expected one channel, got shape (2, 3, 5, 5)"),
        (lambda: plotting.filters(np.ones((2, 12)), shape=(2, 5)), "12 values an image, expected 2 * 5"),
        (lambda: plotting.image_grid(np.ones((0, 9))), "'images': got shape (0, 9)"),
        (lambda: plotting.image_grid(np.ones((2, 10))), "'images': 10 values an image, expected a square number"),
        (lambda: plotting.image_grid(np.full((1, 4), 255, np.int16)), "up to 255, expected [0, 1]; divide"),
        (lambda: plotting.image_grid(np.ones((2, 9)), columns=0), "columns=0; expected an integer of at least 1"),
        (lambda: plotting.curves({}), "nothing to plot: got [], expected a y for at least one x"),
        (lambda: plotting.curves({"a": ([1], [None])}), "nothing to plot: got ['a']"),
        (lambda: plotting.curves({"a": 3.0}), "'a': got 3.0, shapes [], expected two sequences of one length"),
        (lambda: plotting.curves({"a": [1, 2, 3]}), "'a': got [1, 2, 3], shapes [(), (), ()], expected two"),
        (lambda: plotting.curves({"a": ([1, 2], [1])}), "(1,)], expected two sequences of one length, one y for"),
        (lambda: plotting.curves({"a": ([0, 1], [1, 1])}, xlog=True), "'a': got 0, expected values above 0"),
        (lambda: plotting.curves({"a": ([0, 1], [1, -2])}, ylog=True), "got -2, expected values above 0 on this axis"),
        (lambda: plotting.curves({"a": ([0], [1])}, ylog=True, references={"b": 0}), "'b': got 0"),
        (lambda: plotting.curves({"a": ([0], [-2])}, ylog=True, references={"a": 1}), "'a': got -2"),
        (lambda: plotting.curves({"a": ([0], [1])}, references={"b": np.nan}), "'b': got nan, expected a finite"),
        (lambda: plotting.bars({}), "values has nothing to plot: got {}"),
        (lambda: plotting.bars({"a": {}}), "values has nothing to plot: got {'a': {}}"),
        (lambda: plotting.bars({"a": 1, "b": {"c": 2}}), "mixes numbers and groups of numbers"),
        (lambda: plotting.bars({"a": np.inf}), "'a': got inf, expected finite numbers; leave out"),
        (lambda: plotting.bars({"a": {"b": None}}), "'a': got nan, expected finite numbers; leave out"),
        (lambda: plotting.bars({"a": {str(i): i for i in range(11)}}), "11 names, at most 10 can be told apart"),
        (lambda: plotting.roc_curves({}), "nothing to plot: got [], expected a true positive rate for at least one"),
        (lambda: plotting.roc_curves({"a": ([0, 1], [0, 100])}), "'a': got 100, expected rates in [0, 1]; pass"),
        (lambda: plotting.score_histogram({}), "nothing to plot: got sets of sizes {}; expected scores by name"),
        (lambda: plotting.score_histogram({"a": [1.0], "b": []}), "sizes {'a': 1, 'b': 0}"),
        (lambda: plotting.score_histogram({"a": [1.0, np.nan]}), "'a': got nan, expected finite scores"),
        (lambda: plotting.score_histogram({"a": [1.0]}, np.inf), "threshold=inf; expected a finite number"),
        (lambda: plotting.score_histogram({"a": [0.0, 1]}, xlog=True), "'a': got 0, expected values above 0"),
        (lambda: plotting.score_histogram({"a": [1.0]}, -1.0, xlog=True), "'threshold': got -1, expected values above"),
        (lambda: plotting.score_histogram({str(i): [1.0] for i in range(11)}), "11 sets, at most 10"),
        (lambda: plotting.series_rows({}), "rows is empty: expected named series"),
        (lambda: plotting.series_rows({"x": np.ones(9)}), "'x': got shape (9,) of float64; expected series, numbers"),
        (lambda: plotting.series_rows({"x": np.ones((2, 3)), "y": np.ones((2, 4))}), "got [(2, 1, 3), (2, 1, 4)]"),
        (lambda: plotting.series_rows({"x": np.ones((2, 9))}, n=0), "n=0; expected an integer of at least 1"),
        (lambda: plotting.reconstructions(np.ones((2, 10)), np.ones((3, 10))), "got shapes (2, 10) and (3, 10)"),
        (lambda: plotting.reconstructions(np.ones((2, 10)), np.ones((2, 10)), series=False), "10 values an image"),
        (lambda: plotting.reconstructions(np.ones((2, 9)), np.ones((2, 9)), series=1), "series=1; expected True or"),
        (lambda: plotting.roc_curves({"a": ([0, 1], [1])}), "one true positive rate for each false positive rate"),
        (lambda: plotting.latent_scatter(np.ones((5, 8))), "'codes': got shape (5, 8), expected (N, 2); project wider"),
        (lambda: plotting.latent_scatter(np.ones((0, 2))), "got shape (0, 2)"),
        (lambda: plotting.latent_scatter(np.ones((5, 2)), [1, 2]), "labels of shape (2,), expected (5,): one a point"),
        (lambda: plotting.latent_scatter(np.ones((11, 2)), range(11)), "11 classes, at most 10"),
        (lambda: plotting.points_3d({}), "sets is empty"),
        (lambda: plotting.points_3d({"a": np.ones((5, 2))}), "'a': got shape (5, 2), expected (N, 3)"),
        (lambda: plotting.points_3d({"a": np.eye(3)}, [1.0]), "'a': got labels of shape (1,), expected (3,)"),
    ],
)
def test_errors_name_what_was_given_and_what_to_do(draw, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        draw()


def test_rows_may_be_longer_than_what_is_drawn() -> None:
    short, long = np.ones((3, 16)), np.ones((5, 16))
    assert plotting.image_rows({"a": short, "b": long}, n=3).axes
    assert plotting.series_rows({"a": short, "b": long}, n=3).axes
    with pytest.raises(ValueError, match=r"expected 4 images of one size"):
        plotting.image_rows({"a": short, "b": long}, n=4)
