"""What a GPU attaches to the core. The file is imported when a GPU is first used."""

from __future__ import annotations

from scratchae.attach import PLAIN, attach
from scratchae.backend import seen
from scratchae.data.loader import batches_of
from scratchae.gpu.flags import put_down_in_a_recording
from scratchae.gpu.random import generator_on_the_gpu
from scratchae.gpu.upload import batches_on_the_gpu
from scratchae.random import new_generator

# --- random numbers and data -----------------------------------------------------------------------

attach(new_generator, forward=generator_on_the_gpu)
attach(seen, forward=put_down_in_a_recording)
if not PLAIN:
    attach(batches_of, forward=batches_on_the_gpu)
