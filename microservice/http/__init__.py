"""Serves the HTTP requests and WebSockets of a service, as an ASGI application."""
