"""Figures during a run: aggregate, health, history, Prometheus."""
