"""HTTP within the gateway: routes and their description, problem documents, origins of requests.

The sidecar, the API of microservices and access checks share it; it knows none of them.
"""
