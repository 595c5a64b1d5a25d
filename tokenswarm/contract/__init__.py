"""The format of a run folder: tables, manifest, summary and metrics. This is all that tokenswarm and analysis share."""
