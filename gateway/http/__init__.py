"""Serves HTTP within the gateway: routes, their description, problem documents, origins.

The sidecar, the API of microservices and access checks share it; it knows none of them.
"""
