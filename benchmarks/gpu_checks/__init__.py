"""What a first run on a GPU has to show, question by question: what `benchmarks/gpu.py` is made of."""
