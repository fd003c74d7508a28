"""Implements mSS: carries requests to nodes over their SEP, and places BEPs at relays."""
