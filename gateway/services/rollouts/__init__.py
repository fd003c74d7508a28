"""Rolls containers out to other nodes of the account, in waves."""
