"""Stores the records of the cloud. Services use ports.py; app.py chooses the adapter."""
