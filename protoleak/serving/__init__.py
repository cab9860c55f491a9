"""Verdicts as a service: over HTTP (`protoleak serve`), in Triton, and over whole corpora."""
