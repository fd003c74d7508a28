"""Makes a service observable: structured log lines, metrics, and the context of traces."""
