"""What several processes attach to the core."""

from __future__ import annotations

from scratchae.attach import attach
from scratchae.autograd.reductions import batch_count, batch_mean
from scratchae.data.loader import batch_rows
from scratchae.distributed import parts
from scratchae.distributed.forks import watch_forks
from scratchae.random import generator

# --- parts of a batch, and random numbers in forked processes ---------------------------------------

attach(batch_mean, forward=parts.mean_over_processes)
attach(batch_count, forward=parts.count_over_processes)
attach(generator, forward=parts.generator_of_a_part)
attach(batch_rows, forward=parts.rows_of_a_part)
watch_forks()
