"""An engine's description, its flags and the parsing of what it reports. Pure."""
