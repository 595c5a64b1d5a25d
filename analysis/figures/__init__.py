"""Estimates: from rows to figures with intervals."""
