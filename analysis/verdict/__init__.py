"""Whether a run can be trusted, and what its gates come to."""
