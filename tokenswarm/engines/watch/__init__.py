"""Monitors an engine and its GPUs during a run."""
