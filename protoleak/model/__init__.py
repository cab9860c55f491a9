"""The PyTorch side of the network: modules, latent encoders, checkpoints and their import. Needs the `export` extra."""
