"""A page that shows a trained autoencoder: a map of the codes, and the model in JavaScript that decodes each place.

`page.py` writes the page, `items.py` prepares the data, and `network.py` the layers. The page is made of `page.html`,
`style.css` and the files `*.js`, of which `layers.js` computes the layers.
"""

from scratchae.explorer.page import explore

__all__ = ["explore"]
