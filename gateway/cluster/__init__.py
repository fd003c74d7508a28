"""Elects the supernode of the linkLocal cluster and holds the records of its members."""
