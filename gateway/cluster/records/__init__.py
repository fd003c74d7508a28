"""Keeps the records of the cluster's nodes at the supernode, and copies at members."""
