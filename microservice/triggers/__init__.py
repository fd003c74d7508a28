"""Holds the triggers of a service: what its decorators have registered."""
