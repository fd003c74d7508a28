"""Implements the `hecate` command: runs the parts, and calls the sidecar API of a gateway."""
