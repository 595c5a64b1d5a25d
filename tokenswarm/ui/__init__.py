"""What tokenswarm adds to Locust's web UI: the tab "LLM", checks of the start form, a login."""
