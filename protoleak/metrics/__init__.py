"""Measures: how well scores rank, how often verdicts are right, and how sure that is. One implementation for all."""
