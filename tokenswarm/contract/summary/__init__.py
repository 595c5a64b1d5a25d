"""summary.json: its records by subject, its one reader and its one writer."""
