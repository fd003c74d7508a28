"""Runs several gateways on one machine as a cluster: `hecate up --nodes N`."""
