"""Implements mDS: which nodes exist, to which accounts they belong, how to reach them."""
