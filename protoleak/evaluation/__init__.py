"""What a bundle is worth on images: how many real faces it accuses, how well it attributes, what it misses, and for
how long it holds as images are compressed, cropped and passed around.

Everything is measured through the runtime, with the bundle's frozen thresholds. NumPy only.
"""
