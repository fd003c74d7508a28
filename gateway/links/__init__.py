"""Joins devices without IP to the broker: sessions over Bluetooth LE and serial lines.

ports.py defines a link, session.py has the state of one session on it, chunk_link.py moves bytes,
keys.py finds the keys of devices and claim tokens, links.py holds all links. Nothing here is loaded
on a gateway that has no such link.
"""
