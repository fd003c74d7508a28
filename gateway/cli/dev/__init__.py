"""Runs a microservice while a person writes it: `hecate dev`."""
