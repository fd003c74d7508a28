"""Decides which hosts outside a container may reach. Pure."""
