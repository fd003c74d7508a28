"""Devices: joining by claim token, credentials, what is known of each, revocation."""
