"""Passes HTTP requests on, over open sockets: to containers, and from them to elsewhere."""
