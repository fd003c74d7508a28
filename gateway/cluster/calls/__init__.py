"""Carries HTTP requests between nodes of the cluster, over TLS of their keys."""
