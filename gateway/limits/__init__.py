"""Bounds how often something may happen. Pure."""
