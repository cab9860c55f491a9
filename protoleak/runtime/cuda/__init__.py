"""The fused GPU path: noising and crops as CUDA kernels, and both engines with them in one CUDA graph.

Built on `cuda.core`, which is imported only where it is used: importing this package needs no CUDA.
"""
