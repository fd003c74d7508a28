"""Runs the cloud's MQTT broker: authentication, authorisation, limits."""
