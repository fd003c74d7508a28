"""Admits devices to this node by claim token and holds their registry."""
