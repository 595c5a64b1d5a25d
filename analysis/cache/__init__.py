"""What a prefix cache could have found, and what it found."""
