"""Carries what MQTT 5 adds to topic and payload: properties, requests and responses."""
