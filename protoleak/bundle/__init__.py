"""The deployable artefact: manifest, reading and checking it, its variants. NumPy and msgspec only."""
