"""Faces over time: which belong together, which are due, and what they say together."""
