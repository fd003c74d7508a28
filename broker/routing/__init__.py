"""Finds the receivers of messages, and keeps the sessions that receive."""
