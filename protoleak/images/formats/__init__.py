"""What an encoded image declares of itself, read before any decoder sees it; one file per format."""
