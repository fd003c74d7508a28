"""Protects a local server from web pages of other sites (DNS rebinding, cross-site requests)."""
