"""Reads join requests, counts claim tokens, and holds the boards that wait for approval."""
