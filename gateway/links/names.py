"""Names the listener of the broker through which devices without IP come."""

LISTENER = "links"  # authenticators admit here only the identity that a session has proved
