"""Tests of the zoo of controlled generators."""
