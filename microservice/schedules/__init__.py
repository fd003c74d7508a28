"""Runs the handlers of a service at intervals and at times of the calendar."""
