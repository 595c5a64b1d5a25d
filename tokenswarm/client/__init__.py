"""The streaming client: stamps bytes while a stream runs, decodes them after it has ended.

`wire` is the hot path, `http` and `stream` are the cold one, `answer` is what comes out,
`client` ties them together under gevent.
"""
