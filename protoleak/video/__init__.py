"""Videos: frames in, verdicts per face and per track out.

Data flows one way: `sources/` (frames) → `faces/` (boxes and crops) → `tracks/` (who is who, what is due, the evidence
over time) → the screener → `outputs/` (files). `pipeline.py` runs these stages in threads with bounded queues.
"""
