"""What a stream leaves behind: JSON, an annotated video, a report."""
