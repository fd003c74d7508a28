"""Gives a service the settings and secrets that microservice.toml declares."""
