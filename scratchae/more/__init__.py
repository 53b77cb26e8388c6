"""Operators, layers, losses and optimisers that few models need, under the public names of the core."""
