"""What the figures of numbers show: the data given, on the axes and scales and with the labels it should have."""

import numpy as np
import pytest

pytest.importorskip("matplotlib")
from matplotlib.colors import to_hex

from scratchae import History, LearningRates, plotting


def legend_labels(owner):
    return [text.get_text() for text in owner.get_texts()]


def ticks_within(ax, which):
    low, high = getattr(ax, f"get_{which}lim")()
    return [tick for tick in getattr(ax, f"get_{which}ticks")() if low <= tick <= high]


# --- loss_curves


def test_loss_curves_draw_each_term_with_validation_dashed_in_its_colour():
    history = {
        "loss": [0.5, 0.4, 0.3], "val_loss": [0.6, 0.5, 0.4], "reconstruction": [0.4, 0.3, 0.25],
        "val_reconstruction": [0.5, 0.4, 0.3], "kl": [0.1, 0.1, 0.05],
        "seconds": [9, 9, 9], "images_per_second": [1, 1, 1],
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


def test_many_losses_are_named_beside_the_axes():
    terms = {f"{prefix}{name}": [3, 2, 1] for name in ("loss", "a", "b") for prefix in ("", "val_")}
    figure = plotting.loss_curves(terms)
    assert figure.axes[0].get_legend() is None and len(legend_labels(figure.legends[0])) == 6


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


def test_each_metric_has_axes_of_its_own():
    history = History(loss=[2, 1], val_loss=[3, 2], mse=[2, 1], val_mse=[3, 2], psnr=[20, 24], val_psnr=[19, 22])
    history |= {"accuracy": [0.1, 0.9], "seconds": [1, 1]}
    history.metrics = ("psnr", "accuracy")
    loss, psnr, accuracy = plotting.loss_curves(history, title="run").axes
    assert [ax.get_ylabel() for ax in (loss, psnr, accuracy)] == ["loss", "psnr", "accuracy"]
    assert [line.get_label() for line in loss.lines] == ["loss", "validation loss"]  # mse is the whole loss
    assert [line.get_label() for line in psnr.lines] == ["psnr", "validation psnr"]
    np.testing.assert_array_equal(psnr.lines[1].get_ydata(), [19, 22])
    np.testing.assert_array_equal(accuracy.lines[0].get_ydata(), [0.1, 0.9])
    assert loss.get_title(loc="left") == "run" and accuracy.get_legend() is None


# --- rates


def test_a_search_for_a_rate_shows_its_losses_and_the_suggestion():
    rates, losses = [1e-3, 1e-2, 1e-1, 1.0], [4.0, 3.0, 1.0, 9.0]
    found = LearningRates(rates, losses)
    assert found.smoothed == [3.5, 8 / 3, 13 / 3, 5.0] and found.suggestion == 1e-3
    (ax,) = found.plot(title="Adam").axes
    steps, smoothed, suggestion = ax.lines
    np.testing.assert_array_equal(steps.get_xydata(), np.c_[rates, losses])
    np.testing.assert_array_equal(smoothed.get_ydata(), found.smoothed)
    assert suggestion.get_xdata() == [1e-3, 1e-3] and ax.get_xscale() == "log"
    assert legend_labels(ax.get_legend()) == ["loss of a step", "smoothed", "suggestion 0.001"]


# --- curves


def test_curves_draw_every_pair_and_a_dotted_level_for_each_reference():
    lines = {"linear": ([2, 4, 8], [3.0, 2.0, 1.0]), "β = 4": (np.array([2, 8]), np.array([1.5, 0.5]))}
    figure = plotting.curves(lines, None, "code size", "MSE", "errors", references={"PCA": 0.7, "mean": 4})
    (ax,) = figure.axes
    assert legend_labels(figure.legends[0]) == ["linear", "β = 4", "PCA", "mean"]
    for line, (xs, ys) in zip(ax.lines[:2], lines.values(), strict=True):
        np.testing.assert_array_equal(line.get_xdata(), xs)
        np.testing.assert_array_equal(line.get_ydata(), ys)
        assert line.get_linestyle() == "-"
    for line, level in zip(ax.lines[2:], [0.7, 4], strict=True):
        np.testing.assert_array_equal(line.get_ydata(), [level, level])
        assert line.get_linestyle() == ":"
    assert len({line.get_color() for line in ax.lines}) == 4
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_title(loc="left")) == ("code size", "MSE", "errors")
    assert (ax.get_xscale(), ax.get_yscale()) == ("linear", "linear")


def test_gaps_are_bridged_and_markers_can_be_left_out():
    lines = {"a": ([1, 2, 3], [5, None, 6]), "b": ([1, np.nan], [0, 0])}
    first, second = plotting.curves(lines).axes[0].lines
    np.testing.assert_array_equal(first.get_xydata(), [[1, 5], [3, 6]])
    np.testing.assert_array_equal(second.get_xydata(), [[1, 0]])
    assert first.get_marker() != second.get_marker()
    assert [line.get_marker() for line in plotting.curves(lines, markers=False).axes[0].lines] == ["None", "None"]


def test_many_lines_can_be_told_apart_by_colour_or_dash_in_a_legend_beside_the_axes():
    figure = plotting.curves({f"run {i}": ([0, 1], [i, i + 1]) for i in range(13)})
    (ax,) = figure.axes
    assert len({(line.get_color(), line.get_linestyle()) for line in ax.lines}) == 13
    assert ax.get_legend() is None and len(legend_labels(figure.legends[0])) == 13
    few = plotting.curves({f"run {i}": ([0, 1], [i, i + 1]) for i in range(3)})
    assert legend_labels(few.axes[0].get_legend()) == ["run 0", "run 1", "run 2"] and not few.legends
    figure.draw_without_rendering()
    assert figure.legends[0].get_window_extent().x0 >= ax.get_window_extent().x1


def test_a_logarithmic_x_axis_names_the_few_places_that_were_measured():
    sizes = [2, 4, 8, 16, 32, 64]
    (ax,) = plotting.curves({"a": (sizes, sizes)}, xlog=True).axes
    ax.figure.draw_without_rendering()
    assert ax.get_xscale() == "log" and ax.get_yscale() == "linear"
    assert ticks_within(ax, "x") == sizes and not len(ax.get_xticks(minor=True))
    assert [label.get_text() for label in ax.get_xticklabels()] == ["2", "4", "8", "16", "32", "64"]
    (ax,) = plotting.curves({"a": ([1, 1.01, 100], [1, 1, 1])}, xlog=True).axes  # the first two labels would collide
    assert ticks_within(ax, "x") == [1, 2, 5, 10, 20, 50, 100]


@pytest.mark.parametrize("values", [[0.021, 0.048], [0.3, 0.31], [0.7, 0.7], [1, 9], [1, 20], [1e-7, 1]])
def test_a_logarithmic_y_axis_has_at_least_two_labels(values):
    (ax,) = plotting.curves({"a": ([0, 1], values)}, ylog=True).axes
    ax.figure.draw_without_rendering()
    assert ax.get_yscale() == "log" and 2 <= len(ticks_within(ax, "y")) <= 10


# --- bars


def test_bars_have_the_length_and_print_the_number_of_each_value_from_the_top():
    (ax,) = plotting.bars({"PCA": 0.00891, "naïve": 60000, "gain": -3}, None, "score", "models").axes
    assert [bar.get_width() for bar in ax.patches] == [0.00891, 60000, -3]
    assert [text.get_text() for text in ax.texts] == ["0.00891", "60,000", "−3"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["PCA", "naïve", "gain"]
    np.testing.assert_allclose(ax.get_yticks(), [bar.get_y() + bar.get_height() / 2 for bar in ax.patches])
    assert ax.yaxis_inverted() and (ax.get_xlabel(), ax.get_title(loc="left")) == ("score", "models")
    assert ax.get_legend() is None and not ax.figure.legends
    assert plotting.bars({"a": 2, "b": 5}).axes[0].get_xlim()[0] == 0


def test_grouped_bars_keep_a_colour_and_an_order_of_names_and_close_ranks_where_one_is_missing():
    figure = plotting.bars({"mnist": {"PCA": 1, "VAE": 2}, "fashion": {"VAE": 3, "PCA": 4}, "swiss": {"VAE": 5}})
    (ax,) = figure.axes
    drawn = {bar.get_y() + bar.get_height() / 2: bar for bar in ax.patches}
    places = sorted(drawn)
    assert [drawn[place].get_width() for place in places] == [1, 2, 4, 3, 5]
    colours = [plotting.PALETTE.index(to_hex(drawn[place].get_facecolor()).upper()) for place in places]
    assert colours == [0, 1, 0, 1, 1]
    np.testing.assert_allclose(np.diff(places), [1, 1.5, 1, 1.5])
    np.testing.assert_allclose(ax.get_yticks(), [np.mean(places[:2]), np.mean(places[2:4]), places[4]])
    assert legend_labels(figure.legends[0]) == ["PCA", "VAE"]


# --- roc_curves


def test_roc_curves_draw_the_rates_over_the_diagonal_on_a_unit_square():
    rates = {"error": ([0, 0.1, 1], [0, 0.8, 1]), "ELBO": ([0, 0.5, 1], [0, 0.5, 1])}
    (ax,) = plotting.roc_curves(rates, title="clothes").axes
    diagonal, *lines = ax.lines
    np.testing.assert_array_equal(diagonal.get_xydata(), [[0, 0], [1, 1]])
    for line, pair in zip(lines, rates.values(), strict=True):
        np.testing.assert_array_equal(line.get_xydata().T, pair)
    assert legend_labels(ax.get_legend()) == ["error (AUROC 0.850)", "ELBO (AUROC 0.500)"]
    assert (ax.get_xlim(), ax.get_ylim(), ax.get_aspect()) == ((0, 1), (0, 1), 1)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("false positive rate", "true positive rate")
    assert ax.get_title(loc="left") == "clothes"


def test_the_area_under_a_roc_curve_takes_its_points_in_any_order():
    rates = {"a": ([0.5, 0.0, 0.5], [0.9, 0.4, 0.6])}
    (ax,) = plotting.roc_curves(rates).axes
    wanted = 0.5 * (0.4 + 0.6) / 2 + 0.5 * (0.9 + 1) / 2  # from (0, 0) over the points to (1, 1)
    assert legend_labels(ax.get_legend()) == [f"a (AUROC {wanted:.3f})"]


# --- score_histogram


def test_a_histogram_has_the_share_of_each_set_and_the_threshold():
    scores = {"normal": [0.1, 0.2, 0.2, 0.4], "odd": [0.32, 0.5]}
    (ax,) = plotting.score_histogram(scores, 0.35, title="errors", bins=4).axes
    heights = [patch.get_height() for patch in ax.patches]
    np.testing.assert_allclose(heights, [0.25, 0.5, 0, 0.25, 0, 0, 0.5, 0.5])
    np.testing.assert_allclose([ax.patches[0].get_x(), ax.patches[3].get_x() + ax.patches[3].get_width()], [0.1, 0.5])
    assert ax.lines[0].get_xdata() == [0.35, 0.35]
    assert sorted(legend_labels(ax.get_legend())) == ["normal, 25.0% above", "odd, 50.0% above", "threshold 0.35"]
    (ax,) = plotting.score_histogram({"same": np.full(3, 2.0)}, bins=2).axes
    assert [patch.get_height() for patch in ax.patches] == pytest.approx([0, 1]) and not ax.lines
    (ax,) = plotting.score_histogram({"a": [1, 10, 100]}, bins=2, xlog=True).axes
    np.testing.assert_allclose([patch.get_height() for patch in ax.patches], [1 / 3, 2 / 3])


# --- series


@pytest.mark.parametrize("shape", [(3, 10), (3, 1, 10), (3, 1, 1, 10)])
def test_reconstructions_of_series_are_lines_over_the_originals(shape):
    originals, reconstructed = np.random.default_rng(0).random((2, *shape))
    figure = plotting.reconstructions(originals, reconstructed, n=2)
    assert len(figure.axes) == 2 and legend_labels(figure.legends[0]) == ["original", "reconstruction"]
    for ax, one, other in zip(figure.axes, originals, reconstructed, strict=False):
        before, after = ax.lines
        np.testing.assert_array_equal(before.get_ydata(), one.ravel())
        np.testing.assert_array_equal(after.get_ydata(), other.ravel())
    assert len({ax.get_ylim() for ax in figure.axes}) == 1


def test_rows_of_series_have_the_first_row_behind_and_channels_in_colours():
    noisy, denoised = np.random.default_rng(0).random((2, 3, 2, 8))
    figure = plotting.series_rows({"noisy": noisy, "denoised": denoised}, n=3)
    assert [ax.get_ylabel() for ax in figure.axes] == ["noisy", "", "", "denoised", "", ""]
    assert [len(ax.lines) for ax in figure.axes] == [2, 2, 2, 4, 4, 4]
    behind, line = figure.axes[4].lines[:2]
    np.testing.assert_array_equal(behind.get_ydata(), noisy[1, 0])
    np.testing.assert_array_equal(line.get_ydata(), denoised[1, 0])
    colours = [to_hex(line.get_color()).upper() for line in figure.axes[0].lines]
    assert colours == list(plotting.PALETTE[:2])


def test_a_length_that_is_a_square_counts_as_an_image_unless_told():
    pictures = np.random.default_rng(0).random((2, 9))
    assert len(plotting.reconstructions(pictures, pictures).axes[0].images) == 1
    assert len(plotting.reconstructions(pictures, pictures, series=True).axes[0].lines) == 2
    channels = pictures.reshape(2, 3, 3)
    figure = plotting.reconstructions(channels, channels, series=True)
    names = ["original", *(f"reconstruction, channel {i}" for i in (1, 2, 3))]
    assert legend_labels(figure.legends[0]) == names
