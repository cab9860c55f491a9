"""Faces over time: which belong together, which are sampled, and what they say together."""
