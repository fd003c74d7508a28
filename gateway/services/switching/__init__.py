"""Lets one process of a container take over from another."""
