"""Makes, reads and renews certificates, and carries TLS for the server."""
