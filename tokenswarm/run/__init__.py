"""The life of one run: prepare, measure, finish; and what watches it."""
