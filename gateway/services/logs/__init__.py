"""Writes and reads the logs of containers."""
