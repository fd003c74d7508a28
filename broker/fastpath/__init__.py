"""Handles runs of plain packets without packet objects."""
