"""What run folders say about a capacity: evidence, the curve of its levels, and comparison of two capacities."""
