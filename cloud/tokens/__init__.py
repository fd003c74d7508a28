"""Implements mST: short-lived access tokens and their scopes."""
