"""Elects the supernode of a cluster: state, table, order of nodes. Pure."""
