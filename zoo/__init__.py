"""Controlled generators: pipelines that re-make the same images, and nothing else tells their outputs apart."""
