"""The life of one run (prepare, measure, finish) and its monitoring."""
