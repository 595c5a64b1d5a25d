"""All results of a folder, so that you can find a run again: entries, kinds, trends, pruning."""
