"""What an encoded image claims of itself, read before any decoder sees it; one file per format."""
