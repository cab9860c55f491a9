"""Verdicts as a service: over HTTP (`protoleak serve`), in Triton, and over whole corpora.

triton/     a bundle as a model repository of NVIDIA Triton Inference Server
corpus/     millions of images on Ray Data, to Parquet
"""
