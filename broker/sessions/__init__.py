"""Keeps the state of connections and sessions."""
