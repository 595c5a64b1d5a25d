"""Figures while a run goes on: aggregate, health, history, Prometheus."""
