"""The `hecate` command: runs the parts, and speaks to a gateway over its sidecar API."""
