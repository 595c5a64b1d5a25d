"""Readers of run folders."""
