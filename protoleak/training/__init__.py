"""Trains the attribution network and distils light latent encoders. PyTorch; never imported by the runtime."""
