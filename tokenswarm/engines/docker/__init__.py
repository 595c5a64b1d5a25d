"""Engines in containers on this machine."""
