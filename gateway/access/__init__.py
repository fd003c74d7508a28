"""Authenticates callers of the sidecar."""
