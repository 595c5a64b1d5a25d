"""What an engine and its GPUs say while a run goes on."""
