"""Runs one node: identity, local broker, devices, uplink, cluster, microservices, sidecar API.

Read app.py first: it builds every part and is the only place where they meet.
"""

VERSION = "0.1.0"
