"""The functions that a GPU computes in another way. The first use of a GPU imports this file (backend.rooms)."""

from __future__ import annotations

from scratchae import backend, losses, random
from scratchae.attach import PLAIN, attach
from scratchae.autograd import elementwise, products
from scratchae.data import loader
from scratchae.fast import elements, flat
from scratchae.gpu import cublas, devices, images, updates
from scratchae.gpu.kernels import fused
from scratchae.gpu.plugin import Replay
from scratchae.gpu.random import generator_on_the_gpu
from scratchae.gpu.recording import noted
from scratchae.gpu.upload import batches_on_the_gpu
from scratchae.images import conv, pooling
from scratchae.plugins import ORDER

attach(backend.told_when_full, forward=devices.told_when_full)
attach(backend.seen, forward=noted)
attach(random.new_generator, forward=generator_on_the_gpu)
attach(elementwise.normal_cdf, forward=devices.on_gpus(elements.normal_cdf))  # the formula is a loop in Python

if not PLAIN:
    attach(loader.batches_of, forward=batches_on_the_gpu)
    # kernels.cu: one launch for a formula of several
    attach(elementwise.tanh, x=fused("tanh_slope"))
    attach(elementwise.sigmoid, forward=fused("sigmoid"), x=fused("sigmoid_slope"))
    attach(elementwise.softplus, forward=fused("softplus"))
    attach(elementwise.relu, x=fused("where_positive"))
    attach(losses.bernoulli_nll, forward=fused("bernoulli_nll"), input=fused("bernoulli_slope"))
    attach(losses.bernoulli_nll_of_logits, forward=fused("bernoulli_nll_of_logits"), input=fused("logits_slope"))
    attach(flat.move, forward=updates.move)
    # cuBLAS: products that a CUDA graph can record
    attach(products.linear, forward=cublas.linear)
    attach(products.linear_weight_grad, forward=cublas.linear_weight_grad)
    attach(products.product, forward=cublas.product)
    # images.cu: one launch for a loop over taps
    attach(conv.columns, forward=images.by_kernel(images.launch_columns))
    attach(conv.fold, forward=images.by_kernel(images.launch_fold))
    attach(pooling.max_pool, forward=images.pooled_by_kernel(images.launch_max_pool))
    attach(pooling.put_back, forward=images.pooled_by_kernel(images.launch_put_back))
    attach(pooling.pick, forward=images.pooled_by_kernel(images.launch_pick))
    attach(pooling.pool_sum, forward=images.pooled_by_kernel(images.launch_pool_sum))
    attach(pooling.spread, forward=images.pooled_by_kernel(images.launch_spread))
    attach(pooling.interpolation, forward=images.kept_there)

ORDER["replay"] = lambda run: [Replay()]  # steps of training
