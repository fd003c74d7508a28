"""Decides which Bluetooth LE devices have a link, and serves them.

scheduler.py says who has a turn, on what advertisers.py remembers; presence.py says who counts as
online; bonds.py judges bonds; host.py does it all with hardware.radio and gateway.links.
"""
