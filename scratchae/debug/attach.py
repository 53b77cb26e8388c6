"""What debug/ attaches: longer texts for errors, checks of arguments, and views of models and Tensors."""

from __future__ import annotations

from scratchae import backend, changes
from scratchae.attach import attach
from scratchae.autoencoders import Autoencoder
from scratchae.autograd import Tensor, backprop, engine
from scratchae.debug import advice, descriptions, functions, guards, modes, primitives, summary, tensors
from scratchae.debug import changes as memory
from scratchae.nn import init
from scratchae.nn.layer import Layer
from scratchae.nn.linear import Function, Sequential
from scratchae.nn.losses import Loss
from scratchae.nn.module import Module, check_buffer, evaluating, inside, places_in, taken
from scratchae.optim import base as optimizers

attach(backend.not_numbers, forward=advice.not_numbers)
attach(backend.check_items, forward=advice.check_items)
attach(backend.no_gpu, forward=advice.no_gpu)
attach(engine.explain, forward=advice.explain)
attach(engine.check_definition, forward=primitives.check_definition)
attach(engine.with_residuals, forward=primitives.with_residuals)
attach(engine.complete, forward=primitives.complete)
attach(changes.changed, forward=memory.changed)
attach(changes.check_unchanged, forward=memory.check_unchanged)
attach(backprop.origin_of, forward=tensors.origin_of)
Tensor.__repr__ = tensors.printed  # type: ignore[method-assign]

# --- modules ---

Module.summary, Module._repr_html_ = summary.summary, summary._repr_html_
Layer.describe = Loss.describe = Function.describe = descriptions.describe  # type: ignore[method-assign]
Module.training = property(modes.training, modes.set_training)  # type: ignore[assignment]
Module._starts_in_train_mode = True  # type: ignore[attr-defined]
Module.__init_subclass__ = classmethod(modes.started)  # type: ignore[method-assign, assignment]
Sequential.forward = guards.chain  # type: ignore[method-assign]
Function.__init__ = functions.holding(Function.__init__)  # type: ignore[method-assign]
attach(Autoencoder.distance, forward=guards.distance)
attach(evaluating, forward=modes.evaluating)
attach(inside, forward=guards.hidden)
attach(taken, forward=guards.input_of_layer)
attach(Module.named_modules, forward=guards.modules)
attach(Module.train, forward=guards.mode)
attach(Module.requires_grad_, forward=guards.wanted)
attach(Module.to, forward=guards.where)
attach(places_in, forward=guards.places)
attach(check_buffer, forward=guards.buffer_name)

# --- initialisation and optimisers ---

attach(init.uniform_, forward=guards.uniform)
attach(init.normal_, forward=guards.normal)
attach(init.constant_, forward=guards.constant)
attach(init.fan, forward=guards.fan)
attach(optimizers.members, forward=guards.members)
attach(optimizers.tensors, forward=guards.tensors)
attach(optimizers.clip_grad_norm, forward=guards.clipped)
attach(optimizers.check_leaves, forward=guards.leaves)
attach(optimizers.checked_option, forward=guards.option)
