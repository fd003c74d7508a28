"""Keeps the MQTT connection to the cloud and forwards messages in both directions."""
