"""What the field says, as data (claims/*.toml), and what this machine can say to it."""
