"""Authorizes the clients of the embedded broker."""
