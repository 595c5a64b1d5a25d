"""tokenswarm: load testing for LLM inference engines, built on Locust."""

__version__ = "0.1.0"
