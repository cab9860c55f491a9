"""Trains the attribution network. PyTorch; never imported by the runtime."""
