"""Bundles changed on the device: generators added to them, and calibrations taken from a user's own images."""
