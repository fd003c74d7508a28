"""Counts and limits connections, memory and log lines."""
