"""Announces this node on its network and notices others (DNS-SD, RFC 6763)."""
