"""Runs one node: identity, local broker, devices, uplink, cluster, microservices, sidecar API.

Read app.py first: it builds every part. lifecycle.py runs and stops them.
"""

VERSION = "0.1.0"
