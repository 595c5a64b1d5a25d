"""Results of other load generators, as run folders."""
