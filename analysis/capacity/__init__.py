"""What run folders say of a capacity: evidence, the curve of its levels, and one capacity against another."""
