"""Runs the cloud's MQTT broker: who may connect, what they may publish, what it announces."""
