"""Faster ways to the same results, mostly for NumPy on the CPU. `SCRATCHAE_PLAIN=1` leaves all of these out."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from scratchae import losses
from scratchae.attach import PLAIN, attach
from scratchae.autograd import elementwise, products, reductions
from scratchae.fast import compiled, convolutions, elements, flat, images, norms, passes, threads
from scratchae.fast import products as by_threads
from scratchae.fast.memory import keep_freed_memory
from scratchae.fast.numba import INSTALLED, WATCHING
from scratchae.images import conv, pooling
from scratchae.nn import normalisation
from scratchae.optim import base as optimizers

if not PLAIN:
    attach(elementwise.masked, forward=elements.masked)
    attach(elementwise.maximum, forward=elements.against_a_row)
    attach(elementwise.minimum, forward=elements.against_a_row)
    attach(elementwise.relu, forward=elements.relu)
    attach(elementwise.leaky_relu, forward=elements.leaky_relu)
    attach(elementwise.elu, forward=elements.elu)
    attach(elementwise.log_1_plus, forward=elements.log_1_plus)
    attach(elementwise.normal_cdf, forward=elements.normal_cdf)
    attach(products.sum_rows, forward=elements.sum_rows)
    attach(reductions.sum_of_squares, forward=elements.sum_of_squares)
    attach(conv.multiply_then_shift, forward=images.by_phases)
    attach(conv.sum_over_images, forward=images.by_ones)
    attach(optimizers.updaters_of, forward=flat.one_for_many)
    if os.environ.get("SCRATCHAE_KEEP_MEMORY", "1") != "0":
        keep_freed_memory()


def share_out() -> None:
    """Attach the ways of several threads. The first `set_num_threads` calls this function."""
    attach(products.product, forward=by_threads.stack_product)
    attach(products.linear, forward=by_threads.linear)
    attach(products.linear_weight_grad, forward=by_threads.linear_weight_grad)
    attach(products.sum_rows, forward=by_threads.by_one_thread)
    attach(reductions.sum_of_squares, forward=by_threads.sum_of_squares)
    attach(optimizers.clip_grad_norm, forward=by_threads.by_one_thread)
    attach(conv.inner, forward=images.transposed_by_rows)
    attach(conv.fold, forward=images.folded_by_channels)
    attach(conv.plus_bias, forward=images.by_rows)
    for fill in (conv.copy_taps, pooling.take_largest, pooling.fill_windows, pooling.add_windows):
        attach(fill, forward=images.by_channels)
    attach(flat.move, forward=passes.moved_in_pieces)
    moved: dict[Any, Any] = {
        elementwise.add: np.add, elementwise.subtract: np.subtract, elementwise.multiply: np.multiply,
        elementwise.divide: np.divide, elementwise.negative: np.negative, elementwise.relu: elements.relu_into,
        elementwise.masked: elements.masked_into,
    }  # fmt: skip
    for operation, into in moved.items():
        attach(operation, forward=passes.in_pieces(passes.MOVED, into))
    attach(elementwise.relu, x=passes.in_pieces(passes.MOVED, passes.relu_slope_into))
    attach(elementwise.sigmoid, x=passes.in_pieces(passes.MOVED, passes.sigmoid_slope_into))
    attach(elementwise.tanh, x=passes.in_pieces(passes.MOVED, passes.tanh_slope_into))
    attach(reductions.sum_of_squares, x=passes.in_pieces(passes.MOVED, passes.square_slope_into))
    computed: dict[Any, Any] = {
        elementwise.exp: np.exp, elementwise.log: np.log, elementwise.tanh: np.tanh,
        elementwise.sigmoid: passes.sigmoid_into, elementwise.leaky_relu: None, elementwise.elu: None,
    }  # fmt: skip
    for operation, into in computed.items():
        attach(operation, forward=passes.in_pieces(passes.COMPUTED, into))
    for operation in (elementwise.leaky_relu, elementwise.elu, elementwise.softplus):
        attach(operation, x=passes.in_pieces(passes.COMPUTED))
    for operation in (losses.bernoulli_nll, losses.bernoulli_nll_of_logits):
        attach(operation, forward=passes.in_pieces(passes.LABOURED), input=passes.in_pieces(passes.LABOURED))
    for operation in (elementwise.softplus, elementwise.normal_cdf):
        attach(operation, forward=passes.in_pieces(passes.LABOURED))


def compile_loops() -> None:
    """Attach compiled loops, on top of what is attached. They take threads where there are several."""
    for operation, name, slope, saved in (
        (elementwise.relu, "relu", "relu_slope", "aa"), (elementwise.sigmoid, "sigmoid", "sigmoid_slope", "aa"),
        (elementwise.softplus, "softplus", "softplus_slope", "aa"),
        (elementwise.normal_cdf, "normal_cdf", "normal_cdf_slope", "aa"),
    ):  # fmt: skip
        kinds = "fd" if "relu" in name else "f"
        attach(operation, forward=compiled.by_loop(name, "a", kinds), x=compiled.by_loop(slope, saved, kinds))
    attach(elementwise.elu, forward=compiled.by_loop("elu", "a1"), x=compiled.by_loop("elu_slope", "aaa1"))
    attach(elementwise.tanh, x=compiled.by_loop("tanh_slope", "aa", "fd"))
    attach(elementwise.masked, forward=compiled.by_loop("masked", "am", "fd"))
    attach(losses.bernoulli_nll, forward=compiled.by_loop("nll", "aa"), input=compiled.by_loop("nll_slope", "1aa"))
    attach(
        losses.bernoulli_nll_of_logits,
        forward=compiled.by_loop("nll_of_logits", "aa"), input=compiled.by_loop("nll_of_logits_slope", "1aa"),
    )  # fmt: skip
    attach(flat.move, forward=compiled.moved_by_loops)
    attach(conv.conv, forward=convolutions.convolved)
    attach(conv.shift_then_multiply, forward=convolutions.correlated)
    attach(conv.summed_products, forward=convolutions.correlated_weights)
    attach(conv.multiply_then_shift, forward=convolutions.transposed)
    attach(pooling.take_largest, forward=convolutions.largest)
    attach(pooling.add_windows, forward=convolutions.summed)
    attach(pooling.put_back, forward=convolutions.put_back)
    attach(pooling.spread, forward=convolutions.spread)
    attach(normalisation.normalised, forward=norms.by_channels)


if not PLAIN:
    threads.when_first_set.append(share_out)
    number = threads.asked()
    if number is not None or WATCHING:
        threads.set_num_threads(number)
    if INSTALLED:
        compile_loops()
