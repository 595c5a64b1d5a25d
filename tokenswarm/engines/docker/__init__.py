"""Engines in containers of this machine."""
