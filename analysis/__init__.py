"""What a run means: run folders in, statistics, summaries and dashboards out.

Reads the files of a run folder and nothing else: it needs no engine, no Locust and no network.
"""
