"""Rules by which a search over loads or settings decides: pure, without clock, engine or run."""
