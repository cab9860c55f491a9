"""The parts of `benchmarks/corpus.py`."""
