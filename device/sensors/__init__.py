"""Sensors and actuators; each file has a simulated one."""
