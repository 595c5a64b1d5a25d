"""A run in the formats that other tools read. Each function is pure: a run and its summary in, JSON out."""
