"""A light latent encoder that learns from a heavy one."""
