"""Pictures of training and of what an autoencoder has learned.

Every function takes arrays and names, returns a ``matplotlib.figure.Figure``, and saves it too when ``path`` is
given: PNG, SVG or PDF by its suffix, creating the folders it needs. A notebook shows the returned figure.

matplotlib is imported only when something is drawn, and never pyplot: figures need no display, may be drawn in
threads, and are freed with their last reference.
"""

from scratchae.plotting.curves import bars, curves, loss_curves, roc_curves
from scratchae.plotting.images import filters, image_grid, image_rows, reconstructions
from scratchae.plotting.points import latent_scatter, points_3d
from scratchae.plotting.style import PALETTE, png

__all__ = [
    "loss_curves", "curves", "bars", "roc_curves",
    "reconstructions", "image_rows", "image_grid", "filters",
    "latent_scatter", "points_3d", "png", "PALETTE",
]  # fmt: skip
