"""Faces in a frame: detectors and crops."""
