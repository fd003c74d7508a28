"""Carries out commands: calls the API of a gateway and shows its answers."""
