"""Calls the HTTP API of the cloud as a node."""
