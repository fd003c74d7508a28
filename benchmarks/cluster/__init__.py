"""Measures clusters: discovery, take-over, the way to the cloud, calls, traffic, memory."""
