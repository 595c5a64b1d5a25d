"""What runs inside a Locust process: users that send, rows that are written, phases, health, live figures.

`plugin` hooks all of it into Locust's events; `tokenswarm.users` is what a locustfile sees of it.
"""
