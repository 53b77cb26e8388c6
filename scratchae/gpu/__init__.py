"""The parts that only a GPU needs: CUDA kernels, products by cuBLAS, seeded random numbers, and replayed steps.

The first use of a GPU imports CuPy. CuPy's arrays have NumPy's methods, so the rest of the package runs unchanged on a
GPU. This folder replaces the functions that would be slow that way.
"""
