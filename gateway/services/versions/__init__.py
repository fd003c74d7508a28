"""Keeps the versions of containers: their states, and the one to go back to."""
