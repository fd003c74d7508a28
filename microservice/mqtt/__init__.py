"""Speaks MQTT 5 with the gateway's broker, for one container."""
