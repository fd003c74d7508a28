"""Explains why the code of a service cannot be loaded."""
