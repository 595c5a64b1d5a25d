"""Whether a run can be trusted, and the results of its gates."""
