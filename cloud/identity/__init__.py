"""Implements mID: persons sign in, through an OpenID Connect provider, and own accounts."""
