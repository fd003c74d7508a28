"""Runs the processes of containers: the port of a runtime, and the one for Python."""
