"""Controlled generators: pipelines that re-make the same pictures, and nothing else tells their outputs apart."""
