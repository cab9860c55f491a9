"""The parts of `benchmarks/kills.py`."""
