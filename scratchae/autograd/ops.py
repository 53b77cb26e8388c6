"""The operators: every name that Tensor's methods and `scratchae.functional` draw on."""

from scratchae.autograd.elementwise import *  # noqa: F403
from scratchae.autograd.products import *  # noqa: F403
from scratchae.autograd.reductions import *  # noqa: F403
from scratchae.autograd.shaping import *  # noqa: F403
