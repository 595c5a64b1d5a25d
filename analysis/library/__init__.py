"""All results of a folder, so that one finds a run again: entries, kinds, trends, what may be pruned."""
