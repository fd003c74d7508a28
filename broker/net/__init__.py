"""Moves bytes between sockets and the core: listeners, TLS, WebSocket, PROXY protocol."""
