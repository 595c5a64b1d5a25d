"""What a workload is, before any engine runs: its arrivals, lengths and sessions, and what its prompts share."""
