"""Screening as a service."""
