"""Defines what a request from node to node has beyond HTTP/1.1."""

HTTP = "http/1.1"  # ALPN (RFC 7301, 6)
PROOF_HEADER = "x-hecate-proof"  # admits the caller, as in the first frame of a link
