"""Holds the identity, the account and the record of this node."""
