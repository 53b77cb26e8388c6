"""What only a GPU has: kernels of our own, products by cuBLAS, seeded random numbers, and steps that are replayed.

CuPy is not imported before somebody asks for a GPU. Everything else in the package is the same code as on the CPU,
since CuPy's arrays have NumPy's methods; these are the places where that would be slow.
"""
