"""Compares groups of runs."""
