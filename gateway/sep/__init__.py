"""Serves the SEP requests of this node."""
