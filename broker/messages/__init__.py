"""Defines messages, topics and retained messages."""
