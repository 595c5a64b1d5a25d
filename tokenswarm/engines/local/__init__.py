"""Engines as processes on this machine."""
