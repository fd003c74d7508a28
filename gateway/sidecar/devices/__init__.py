"""Serves devices: claim tokens, boards that wait for approval, and the registry."""
