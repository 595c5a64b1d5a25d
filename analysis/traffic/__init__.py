"""Describes a workload before any engine runs it: arrivals, lengths, sessions, and what its prompts share."""
