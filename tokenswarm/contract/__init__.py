"""What a run folder is: the tables, the manifest, the summary, the metrics. All that tokenswarm and analysis share."""
