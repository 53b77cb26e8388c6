"""The operators: every name that Tensor's methods and `scratchae.functional` draw on."""

from scratchae.autograd.elementwise import *
from scratchae.autograd.products import *
from scratchae.autograd.reductions import *
from scratchae.autograd.shaping import *
