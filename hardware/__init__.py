"""Boards: simulated ones now; flashing and provisioning real ones later."""
