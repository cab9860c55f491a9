"""TensorRT and TensorRT-RTX: plans built from a variant's ONNX, kept in the user's cache, and run.

library.py      the two Python modules, which have the same interface, and what differs between their versions
settings.py     what a plan is built for, and the key that it is kept under
plan_cache.py   plans on disk: written whole, checked when read, built once
builder.py      ONNX → plan, with a progress bar and the share of layers per precision
plans.py        a plan from the cache, or built
runtime.py      a plan on a GPU
"""
