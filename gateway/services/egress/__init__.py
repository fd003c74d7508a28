"""Serves the requests of containers: to the gateway, to other microservices, to the outside.

Each process of a container has a Unix socket of the gateway. A request on it is that container's,
whatever its headers say.
"""
