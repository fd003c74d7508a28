"""Carries out the commands about devices."""
