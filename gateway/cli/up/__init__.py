"""Runs the whole system on one machine: `hecate up`."""
