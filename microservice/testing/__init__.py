"""Runs the handlers of a service in a plain test, without gateway and broker."""
