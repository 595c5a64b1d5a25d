"""What is known about an engine: its description, its flags, what it says of itself. Pure."""
