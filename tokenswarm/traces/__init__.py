"""Readers of recorded traffic: traces, logs and data sets of many formats, as one kind of request."""
