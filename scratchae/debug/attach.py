"""What the looking glasses attach: longer texts for errors."""

from __future__ import annotations

from scratchae import backend
from scratchae.attach import attach
from scratchae.autograd import engine
from scratchae.debug import advice

attach(backend.refused, forward=advice.refused)
attach(backend.no_gpu, forward=advice.no_gpu)
attach(engine.explain, forward=advice.explain)
