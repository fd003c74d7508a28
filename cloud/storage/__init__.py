"""Stores what the cloud must remember; services see ports.py, app.py chooses the adapter."""
