"""Serves the local HTTP API: health, status, discovery, JSON-RPC, devices, microservices."""
