"""The functions that several processes attach to the core and to files/."""

from __future__ import annotations

from scratchae import training
from scratchae.attach import attach
from scratchae.autograd.reductions import batch_count, batch_mean
from scratchae.data.loader import batch_rows
from scratchae.distributed import parts, sharing
from scratchae.distributed.forks import watch_forks
from scratchae.files import interrupts, resuming
from scratchae.plugins import ORDER
from scratchae.random import generator

# --- parts of a batch, and random numbers in forked processes ---

attach(batch_mean, forward=parts.mean_over_processes)
attach(batch_count, forward=parts.count_over_processes)
attach(generator, forward=parts.generator_of_a_part)
attach(batch_rows, forward=parts.rows_of_a_part)
watch_forks()

# --- training by several processes ---

ORDER["processes"] = sharing.sharing_of
attach(training.processes, forward=sharing.joined)
attach(training.remaining_batches, forward=sharing.part_of_batches)
attach(training.totals_of, forward=sharing.summed)
attach(resuming.state_in, forward=sharing.read_by_the_first)
attach(interrupts.asked, forward=sharing.agreed)
