"""What the figures of images show: the pixels given, in their places, on the range they should have."""

import numpy as np
import pytest

pytest.importorskip("matplotlib")
from matplotlib.image import imread

import scratchae as sa
from scratchae import plotting

rng = np.random.default_rng(0)


def tiles(figure, rows, columns, height, width, gap=1):
    """The images that a figure shows, (rows * columns, H, W) or (rows * columns, H, W, 3), taken off its picture."""
    picture = np.asarray(figure.axes[0].images[0].get_array())
    repeats = max(1, 28 // max(height, width))  # dots for each pixel
    h, w = height * repeats, width * repeats
    assert picture.shape[:2] == (rows * (h + gap) - gap, columns * (w + gap) - gap)
    corners = [picture[r * (h + gap) :, c * (w + gap) :] for r in range(rows) for c in range(columns)]
    shown = np.array([corner[:h, :w] for corner in corners])
    np.testing.assert_array_equal(shown, shown[:, ::repeats, ::repeats].repeat(repeats, 1).repeat(repeats, 2))
    return shown[:, ::repeats, ::repeats]


def names(figure):
    return [label.get_text() for label in figure.axes[0].get_yticklabels()]


def test_image_rows_show_the_given_images_on_one_fixed_scale():
    rows = {"noisy": rng.normal(size=(4, 1, 6, 5)), "clean": rng.random((4, 6, 5)) / 2}
    figure = plotting.image_rows(rows, n=3)
    shown = tiles(figure, 2, 3, 6, 5)
    np.testing.assert_array_equal(shown[:3], rows["noisy"][:3, 0].clip(0, 1))
    np.testing.assert_array_equal(shown[3:], rows["clean"][:3])
    (image,) = figure.axes[0].images
    assert image.get_clim() == (0, 1) and image.get_cmap().name == "gray"
    assert names(figure) == ["noisy", "clean"]
    np.testing.assert_array_equal(figure.axes[0].get_yticks(), [0.5, 1.5])  # the middle of each row


def test_grey_rows_beside_colour_stay_grey():
    rows = {"grey": rng.random((2, 6, 5)), "rgb": rng.normal(size=(2, 3, 6, 5))}
    shown = tiles(plotting.image_rows(rows), 2, 2, 6, 5)
    for channel in range(3):
        np.testing.assert_array_equal(shown[:2, ..., channel], rows["grey"])
        np.testing.assert_array_equal(shown[2:, ..., channel], rows["rgb"][:, channel].clip(0, 1))


def test_reconstructions_are_two_rows_and_flat_images_are_squared():
    originals, reconstructed = rng.random((2, 9)), rng.random((2, 3, 3)).astype(np.float32)
    figure = plotting.reconstructions(originals, reconstructed)
    assert names(figure) == ["original", "reconstruction"]
    shown = tiles(figure, 2, 2, 3, 3)
    np.testing.assert_array_equal(shown[:2], originals.reshape(2, 3, 3))
    np.testing.assert_array_equal(shown[2:], reconstructed)


def test_black_and_white_images_need_no_floats():
    for dtype in (bool, np.uint8, np.int64):
        shown = tiles(plotting.image_grid(np.eye(4, dtype=dtype)), 2, 2, 2, 2)
        np.testing.assert_array_equal(shown.reshape(4, 4), np.eye(4))


def test_bytes_are_shown_as_numbers_in_the_unit_interval():
    photos = rng.integers(0, 256, (2, 3, 6, 6), dtype=np.uint8)
    shown = tiles(plotting.image_rows({"photos": photos}), 1, 2, 6, 6)
    np.testing.assert_array_equal(shown, photos.transpose(0, 2, 3, 1) / 255)


def test_a_film_strip_of_twelve_rows_keeps_names_in_full(tmp_path):
    titles = ["original", "before", *(f"epoch {i}" for i in range(1, 10)), "ein längerer Name: ½ β"]
    figure = plotting.image_rows({title: rng.random((10, 784)) for title in titles}, tmp_path / "strip.png")
    assert names(figure) == titles
    labels = [label.get_window_extent() for label in figure.axes[0].get_yticklabels()]
    assert all(label.x0 >= -0.5 and label.height > 20 for label in labels)  # 11 points, and inside the figure
    assert all(lower.y1 < upper.y0 for upper, lower in zip(labels, labels[1:], strict=False))


def test_image_grid_fills_a_square_row_by_row_and_leaves_the_rest_white():
    images = rng.random((5, 1, 4, 4))
    figure = plotting.image_grid(images, title="manifold")
    shown = tiles(figure, 2, 3, 4, 4)
    np.testing.assert_array_equal(shown[:5], images[:, 0])
    assert (shown[5] == 1).all()
    assert figure.axes[0].get_title(loc="left") == "manifold"
    assert figure.axes[0].images[0].get_clim() == (0, 1)


@pytest.mark.parametrize("columns, grid", [(None, (3, 3)), (1, (7, 1)), (4, (2, 4)), (7, (1, 7)), (20, (1, 7))])
def test_image_grid_takes_colour_and_any_number_of_columns(columns, grid):
    images = rng.random((7, 3, 4, 6))
    shown = tiles(plotting.image_grid(images, columns=columns), *grid, 4, 6)
    np.testing.assert_array_equal(shown[:7], images.transpose(0, 2, 3, 1))


def test_a_grid_of_four_hundred_is_saved_with_whole_dots_for_every_pixel(tmp_path):
    images = rng.integers(0, 2, (400, 28, 28))
    plotting.image_grid(images, tmp_path / "grid.png", title="manifold")
    saved = imread(tmp_path / "grid.png")[..., 0]
    canvas = np.asarray(plotting.image_grid(images).axes[0].images[0].get_array())
    assert canvas.shape == (20 * 29 - 1, 20 * 29 - 1)
    doubled = canvas.repeat(2, axis=0).repeat(2, axis=1)
    margin = 12  # 0.08 inches
    picture = saved[-margin - doubled.shape[0] : -margin, margin : margin + doubled.shape[1]]
    np.testing.assert_array_equal(picture, doubled)


def test_large_images_are_shown_smaller():
    figure = plotting.image_grid(rng.random((4, 3, 300, 200)))
    assert max(figure.get_size_inches()) < 2


def test_filters_are_scaled_symmetrically_each_to_its_own_largest():
    weights = np.stack([np.arange(6.0), -2 * np.arange(6.0), np.zeros(6)])
    figure = plotting.filters(weights, shape=(2, 3))
    (ax,) = figure.axes
    shown = tiles(figure, 2, 2, 2, 3, gap=3).reshape(4, 6)
    np.testing.assert_allclose(shown[:3], [np.arange(6) / 5, -np.arange(6) / 5, np.zeros(6)])
    assert np.isnan(shown[3]).all()  # no weights, no colour
    assert ax.images[0].get_clim() == (-1, 1) and ax.images[0].get_cmap().name == "RdBu_r"
    (bar,) = ax.child_axes
    assert [text.get_text() for text in bar.get_yticklabels()] == ["−max", "0", "+max"]


def test_filters_guess_squares_and_stop_at_n():
    assert np.isfinite(tiles(plotting.filters(rng.normal(size=(70, 16))), 8, 8, 4, 4, gap=3)).all()
    shown = tiles(plotting.filters(rng.normal(size=(8, 1, 3, 5)), n=5), 2, 3, 3, 5, gap=2)
    assert np.isfinite(shown).all(axis=(1, 2)).tolist() == [True] * 5 + [False]


def test_tensors_are_drawn_like_their_arrays() -> None:
    images = np.random.default_rng(0).random((4, 1, 3, 3)).astype(np.float32)
    graph = sa.tensor(images, requires_grad=True) * 1.0
    for draw in (plotting.image_grid, plotting.filters, lambda x: plotting.image_rows({"a": x}),
                 lambda x: plotting.reconstructions(images, x)):  # fmt: skip
        assert plotting.png(draw(graph)) == plotting.png(draw(images))
    codes, labels = graph.reshape(6, 6)[:, :2], sa.tensor(np.arange(6))
    assert plotting.png(plotting.latent_scatter(codes, labels)) == plotting.png(
        plotting.latent_scatter(codes.numpy(), np.arange(6))
    )
