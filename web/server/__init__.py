"""Serves ASGI applications over HTTP/1.1, with bounds on connections, bytes and time."""
