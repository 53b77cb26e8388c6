"""The list of names that this room offers under `functional`, `nn` and `optim`.

Operators go under `autograd.ops` too. NumPy's functions on Tensors look for their operator there.
"""

from __future__ import annotations

from scratchae import functional, nn, optim
from scratchae.attach import attach
from scratchae.autoencoders.base import LOSSES, Autoencoder
from scratchae.autoencoders.variational import LOG_NORMALISERS
from scratchae.autograd import ops
from scratchae.autograd.methods import Methods
from scratchae.more import (
    accumulating,
    einsum,
    elementwise,
    images,
    layers,
    loss_modules,
    losses,
    normalisation,
    padding,
    rearranging,
    series,
)
from scratchae.more import optim as optimizers
from scratchae.more.offers import offer
from scratchae.more.ssim import ssim

# --- operators ------------------------------------------------------------------------------------

for _module in (functional, ops):
    offer(_module, elementwise.square, elementwise.log2, elementwise.log10, elementwise.tan)
    offer(_module, accumulating.prod, accumulating.cumsum, accumulating.cumprod, accumulating.std)
    offer(_module, rearranging.sort, rearranging.argsort, rearranging.take_along_axis)
    offer(_module, rearranging.repeat, rearranging.tile, rearranging.roll, rearranging.flip)
    offer(_module, einsum.einsum, padding.pad)

Methods.prod, Methods.cumsum, Methods.cumprod = accumulating.prod, accumulating.cumsum, accumulating.cumprod
Methods.std, Methods.sort, Methods.argsort = accumulating.std, rearranging.sort, rearranging.argsort
Methods.repeat = rearranging.repeat

# --- layers ---------------------------------------------------------------------------------------

offer(functional, images.pixel_shuffle, images.pixel_unshuffle, layers.silu, layers.hardtanh)
offer(functional, series.conv1d, series.conv_transpose1d, series.max_pool1d, series.avg_pool1d)
offer(nn, images.PixelShuffle, images.PixelUnshuffle, layers.SiLU, layers.Hardtanh, layers.GaussianNoise)
offer(nn, layers.Residual, normalisation.GroupNorm, normalisation.InstanceNorm2d)
offer(nn, series.Conv1d, series.ConvTranspose1d, series.MaxPool1d, series.AvgPool1d)

# --- losses ---------------------------------------------------------------------------------------

offer(functional, losses.cross_entropy, losses.binary_cross_entropy_with_logits)  # the core's, with more options
offer(functional, losses.huber_loss, losses.smooth_l1_loss, losses.gaussian_nll_loss, losses.cosine_similarity)
offer(functional, losses.continuous_bernoulli_nll, losses.continuous_bernoulli_mean, ssim)
offer(nn, loss_modules.CrossEntropyLoss, loss_modules.BCEWithLogitsLoss, loss_modules.KLDivLoss)
offer(nn, loss_modules.HuberLoss, loss_modules.SmoothL1Loss, loss_modules.GaussianNLLLoss)
offer(nn, loss_modules.CosineSimilarity)
LOSSES |= {"bce_logits": losses.binary_cross_entropy_with_logits, "cb": losses.continuous_bernoulli_nll}
attach(Autoencoder._visible, forward=losses.as_means)
LOG_NORMALISERS |= {losses.binary_cross_entropy_with_logits: 0.0, losses.continuous_bernoulli_nll: 0.0}

# --- optimisers and schedules ---------------------------------------------------------------------

optim.Optimizer.add_param_group = optimizers.add_param_group
offer(optim, optimizers.Adagrad, optimizers.LambdaLR, optimizers.WarmupLR)
