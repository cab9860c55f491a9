"""Views of an image of a face: `draw` says what is done, `view` does it by regions, resampling, retouching, writers."""
