"""Measures the device package against other MQTT clients for MicroPython, on one interpreter."""
