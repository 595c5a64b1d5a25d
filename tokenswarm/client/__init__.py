"""The streaming client: it timestamps bytes while a stream runs and decodes them after the stream has ended. `wire` is
the hot path, `http` and `stream` are off it, `answer` holds the result, and `client` ties them together under gevent.
"""
