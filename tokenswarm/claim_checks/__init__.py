"""Published claims as data (claims/*.toml), and how this machine tests them."""
