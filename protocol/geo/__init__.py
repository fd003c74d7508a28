"""Describes places on the earth."""
