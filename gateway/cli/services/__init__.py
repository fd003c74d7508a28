"""Deploys, lists, calls and changes the microservices of a gateway, over its API."""
