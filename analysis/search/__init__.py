"""Rules that decide a search over loads or settings. Pure: no clock, engine or run."""
