"""The embedded engine simulator: an OpenAI-compatible server with a model of time behind it.

The core (`hardware`, `kv`, `block_cache`, `radix_cache`, `scheduler`, `flat`, `answers`) is pure: no clock, no socket.
The edge (`server`, `app`, `replies`, `pacemaker`) ties model time to the machine's clock and speaks HTTP.
Its figures are those of a model: they say nothing about a real engine.
"""
