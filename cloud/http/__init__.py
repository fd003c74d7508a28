"""Serves the cloud's HTTP: the application, its guard, its problems and its health."""
