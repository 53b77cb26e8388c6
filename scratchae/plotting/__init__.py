"""Pictures of training and of the results of an autoencoder.

Every function takes arrays and names, and returns a ``matplotlib.figure.Figure``. With ``path``, the figure is also
saved, as PNG, SVG or PDF by the suffix. Missing folders are made. A notebook shows the returned figure.

matplotlib is imported at the first drawing, and pyplot is never imported. So figures need no display, may be drawn in
threads, and are freed with their last reference.
"""

from scratchae.plotting.curves import bars, curves, loss_curves
from scratchae.plotting.images import filters, image_grid, image_rows, reconstructions
from scratchae.plotting.points import latent_scatter, points_3d
from scratchae.plotting.scores import roc_curves, score_histogram
from scratchae.plotting.series import series_rows
from scratchae.plotting.style import PALETTE, png

__all__ = [
    "loss_curves", "curves", "bars", "roc_curves", "score_histogram",
    "reconstructions", "series_rows", "image_rows", "image_grid", "filters",
    "latent_scatter", "points_3d", "png", "PALETTE",
]  # fmt: skip
