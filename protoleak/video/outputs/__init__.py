"""What is left of a screened video: verdicts.jsonl, tracks.json, annotated.mp4 and report.html. See `folder`."""
