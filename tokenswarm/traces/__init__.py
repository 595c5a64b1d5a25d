"""Readers of recorded traffic: traces, logs and data sets in many formats, all read into one kind of request."""
