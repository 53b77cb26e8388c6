"""What the figures show: the data given, on the axes, scales and labels it should have."""

import pickle
import re
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("matplotlib")
from matplotlib.colors import to_rgba
from matplotlib.image import imread

from scratchae import plotting

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
    ],
    ids=["loss_curves", "reconstructions", "image_rows", "latent_scatter", "points_3d", "filters"],
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


# --- loss_curves


def test_loss_curves_draw_each_term_with_validation_dashed_in_its_colour():
    history = {
        "loss": [0.5, 0.4, 0.3], "val_loss": [0.6, 0.5, 0.4], "reconstruction": [0.4, 0.3, 0.25],
        "val_reconstruction": [0.5, 0.4, 0.3], "kl": [0.1, 0.1, 0.05],
        "seconds": [9, 9, 9], "images_per_second": [1, 1, 1], "lr": [1, 1, 1],
    }  # fmt: skip
    (ax,) = plotting.loss_curves(history, title="run 1").axes
    lines = {line.get_label(): line for line in ax.lines}
    assert list(lines) == ["loss", "validation loss", "reconstruction", "validation reconstruction", "kl"]
    assert legend_labels(ax.get_legend()) == list(lines)
    for term in ("loss", "reconstruction"):
        train, validation = lines[term], lines["validation " + term]
        np.testing.assert_array_equal(train.get_xdata(), [1, 2, 3])
        np.testing.assert_array_equal(train.get_ydata(), history[term])
        np.testing.assert_array_equal(validation.get_ydata(), history["val_" + term])
        assert train.get_color() == validation.get_color()
        assert (train.get_linestyle(), validation.get_linestyle()) == ("-", "--")
    assert len({lines[term].get_color() for term in ("loss", "reconstruction", "kl")}) == 3
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_title(loc="left")) == ("epoch", "loss", "run 1")
    assert not ax.spines["top"].get_visible() and not ax.spines["right"].get_visible()


def test_a_lone_term_is_dropped_only_where_it_is_the_whole_loss():
    def labels(**history):
        return [line.get_label() for line in plotting.loss_curves(history).axes[0].lines]

    assert labels(loss=[2, 1], reconstruction=[2, 1]) == ["loss"]
    both = {"loss": [2, 1], "val_loss": [3, 2], "reconstruction": [2, 1]}
    assert labels(**both, val_reconstruction=[3, 2]) == ["loss", "validation loss"]
    assert len(labels(**both, val_reconstruction=[3, 1])) == 4
    assert labels(loss=[2, 1], reconstruction=[2, 0.5]) == ["loss", "reconstruction"]
    assert labels(loss=[2, 1], a=[2, 1], b=[0, 0]) == ["loss", "a", "b"]


@pytest.mark.parametrize(
    "values, scale",
    [([1, 0.05], "log"), ([1, 1e-6], "log"), ([1, 0.1], "linear"), ([1, 0.0], "linear"), ([1, 0.01, -1], "linear")],
)
def test_loss_axis_is_logarithmic_only_for_positive_values_over_a_decade(values, scale):
    assert plotting.loss_curves({"loss": values}).axes[0].get_yscale() == scale


@pytest.mark.parametrize("epochs", [1, 2, 3, 7, 30, 500])
def test_epoch_ticks_are_whole_epochs(epochs):
    figure = plotting.loss_curves({"loss": np.linspace(1, 2, epochs)})
    (ax,) = figure.axes
    low, high = ax.get_xlim()
    ticks = [tick for tick in ax.get_xticks() if low <= tick <= high]
    assert ticks and all(tick == int(tick) and 1 <= tick <= epochs for tick in ticks)
    assert low < 1 and high > epochs


def test_one_epoch_shows_a_marker_and_gaps_are_bridged():
    (line,) = plotting.loss_curves({"loss": [0.3]}).axes[0].lines
    assert line.get_marker() == "o"
    ax = plotting.loss_curves({"loss": [3, 2, 1], "val_loss": [None, 2.5, float("nan")]}).axes[0]
    np.testing.assert_array_equal(ax.lines[1].get_xdata(), [2])
    assert ax.lines[1].get_marker() == "o"


# --- images


def test_image_rows_show_the_given_images_on_one_fixed_scale():
    rows = {"noisy": rng.normal(size=(4, 1, 6, 5)), "clean": rng.random((4, 6, 5)) / 2, "rgb": rng.random((4, 3, 6, 5))}
    figure = plotting.image_rows(rows, n=3)
    assert len(figure.axes) == 9
    shown = [ax.images[0] for ax in figure.axes]
    for i in range(3):
        np.testing.assert_array_equal(shown[i].get_array(), rows["noisy"][i, 0])
        np.testing.assert_array_equal(shown[3 + i].get_array(), rows["clean"][i])
        np.testing.assert_array_equal(shown[6 + i].get_array(), rows["rgb"][i].transpose(1, 2, 0))
    assert all(image.get_clim() == (0, 1) and image.get_cmap().name == "gray" for image in shown)
    assert [ax.get_ylabel() for ax in figure.axes] == ["noisy", "", "", "clean", "", "", "rgb", "", ""]


def test_reconstructions_are_two_rows_and_flat_images_are_squared():
    originals, reconstructed = rng.random((2, 9)), rng.random((2, 3, 3)).astype(np.float32)
    axes = plotting.reconstructions(originals, reconstructed).axes
    assert [ax.get_ylabel() for ax in axes] == ["original", "", "reconstruction", ""]
    np.testing.assert_array_equal(axes[1].images[0].get_array(), originals[1].reshape(3, 3))
    np.testing.assert_array_equal(axes[2].images[0].get_array(), reconstructed[0])


def test_filters_are_scaled_symmetrically_each_to_its_own_largest():
    weights = np.stack([np.arange(6.0), -2 * np.arange(6.0), np.zeros(6)])
    *axes, bar = plotting.filters(weights, shape=(2, 3)).axes
    assert len(axes) == 3
    for ax, weight, limit in zip(axes, weights, (5, 10, 1), strict=True):
        np.testing.assert_array_equal(ax.images[0].get_array(), weight.reshape(2, 3))
        assert ax.images[0].get_clim() == (-limit, limit)
    assert [text.get_text() for text in bar.get_yticklabels()] == ["−max", "0", "+max"]
    assert axes[0].get_subplotspec().get_gridspec().get_geometry() == (2, 2)


def test_filters_guess_squares_and_stop_at_n():
    *axes, _ = plotting.filters(rng.normal(size=(70, 16))).axes
    assert len(axes) == 64 and axes[0].images[0].get_array().shape == (4, 4)
    *axes, _ = plotting.filters(rng.normal(size=(8, 1, 3, 5)), n=5).axes
    assert len(axes) == 5 and axes[0].images[0].get_array().shape == (3, 5)


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
        (lambda: plotting.loss_curves({}), "no losses to plot: got []"),
        (lambda: plotting.loss_curves({"loss": [], "seconds": [1]}), "got ['loss', 'seconds']"),
        (lambda: plotting.loss_curves({"loss": [np.nan]}), "no losses to plot"),
        (lambda: plotting.loss_curves({"loss": [1, 2], "val_loss": [1]}), "'val_loss': (1,)}; fill gaps with None"),
        (lambda: plotting.loss_curves({"loss": [[1, 2]]}), "expected one number per epoch"),
        (lambda: plotting.image_rows({}), "rows is empty"),
        (lambda: plotting.image_rows({"x": np.ones((2, 10))}), "'x': 10 values an image, expected a square number"),
        (lambda: plotting.image_rows({"x": np.ones((0, 9))}), "'x': got shape (0, 9)"),
        (lambda: plotting.image_rows({"x": np.ones(9)}), "'x': got shape (9,), expected (N, 1, H, W)"),
        (lambda: plotting.image_rows({"x": np.ones((2, 8, 8, 3))}), "channels before height and width"),
        (lambda: plotting.image_rows({"x": [["a"]]}), "expected numbers"),
        (lambda: plotting.image_rows({"x": np.ones((2, 9))}, n=0), "n=0; expected numbers and n >= 1"),
        (lambda: plotting.image_rows({"x": np.full((1, 4), 255, np.uint8)}), "up to 255, expected [0, 1]; divide"),
        (lambda: plotting.reconstructions(np.ones((12, 4)), np.ones((11, 4))), "'reconstruction': (11, 2, 2)}; pass"),
        (lambda: plotting.reconstructions(np.ones((2, 4)), np.ones((2, 9))), "images of one size"),
        (lambda: plotting.filters(np.ones((2, 3, 5, 5))), "expected one channel, got shape (2, 3, 5, 5)"),
        (lambda: plotting.filters(np.ones((2, 12)), shape=(2, 5)), "12 values an image, expected 2 * 5"),
        (lambda: plotting.latent_scatter(np.ones((5, 8))), "got (5, 8); project wider codes to 2-D first"),
        (lambda: plotting.latent_scatter(np.ones((0, 2))), "got (0, 2)"),
        (lambda: plotting.latent_scatter(np.ones((5, 2)), [1, 2]), "shape (5,), got labels of shape (2,)"),
        (lambda: plotting.latent_scatter(np.ones((11, 2)), range(11)), "11 classes, at most 10"),
        (lambda: plotting.points_3d({}), "sets is empty"),
        (lambda: plotting.points_3d({"a": np.ones((5, 2))}), "'a': expected points of shape (N, 3), got (5, 2)"),
        (lambda: plotting.points_3d({"a": np.eye(3)}, [1.0]), "'a': expected one label a point, shape (3,)"),
    ],
)
def test_errors_name_what_was_given_and_what_to_do(draw, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        draw()
