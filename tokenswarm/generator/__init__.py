"""The code inside a Locust process: users, result rows, phases, health and live figures. `plugin` connects it to
Locust's events; `tokenswarm.users` is its public interface for locustfiles.
"""
