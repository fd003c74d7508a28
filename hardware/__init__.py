"""Drives boards: simulated ones now; flashing and provisioning of real ones later."""
