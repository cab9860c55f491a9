"""Videos: frames in, verdicts per face and per track out.

Data flows one way: `sources/` (frames) → `tracking/` (faces, who is who, which are attributed) → attribution (the
verdict of each face) → aggregation (the verdict of each track) → sinks, such as those of `outputs/` (files).
`stream.py` runs these stages in threads; `schedulers.py` says what stands between them.
"""
