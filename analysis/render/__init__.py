"""Presentation: pages, charts, terminal."""
