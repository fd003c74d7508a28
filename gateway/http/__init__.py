"""Serves HTTP: servers, problem documents, and the origin of a request."""
