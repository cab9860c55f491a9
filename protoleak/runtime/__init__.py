"""Inference without PyTorch: from an image to a verdict."""
