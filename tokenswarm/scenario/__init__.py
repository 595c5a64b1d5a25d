"""A scenario: its model, distributions, overrides, limits and SLOs."""
