"""Calls other nodes, each by the shortest way that works."""
