"""Decides which topics a user may read and write, from the rules of an access list."""
