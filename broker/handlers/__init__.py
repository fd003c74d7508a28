"""Handles packets one at a time: the readable path."""
