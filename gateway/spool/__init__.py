"""Stores messages for the cloud on disk until the cloud has acknowledged them."""
