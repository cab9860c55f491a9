"""Two commits of a repository, measured in turns on one machine: what `benchmarks/regress.py` is made of."""
