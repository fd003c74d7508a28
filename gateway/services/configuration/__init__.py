"""Keeps the settings and secrets of containers, as far as their manifests declare them."""
