"""Measures bundles: how fast each engine and variant is here, what it needs, and how right the same artefact is.

NumPy only, apart from `baseline`, which needs PyTorch and is imported only when it is asked for.
"""
