"""summary.json: its records by subject, and the only reader and writer."""
