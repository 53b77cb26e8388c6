"""The operators: every name that Tensor's methods and `scratchae.functional` draw on, and where it is."""

from scratchae.autograd.elementwise import *  # arithmetic, exponentials, activations, comparisons
from scratchae.autograd.products import *  # matmul, linear
from scratchae.autograd.reductions import *  # sum, mean, max, softmax, norm
from scratchae.autograd.shaping import *  # reshape, transpose, indexing, pad, concatenate
