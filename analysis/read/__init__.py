"""Run folders in."""
