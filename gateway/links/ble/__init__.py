"""Decides which Bluetooth LE devices have a link, and serves them.

scheduler.py gives turns to devices that advertisers.py remembers; presence.py decides which devices
are online; bonds.py judges bonds; host.py does it all with hardware.radio and gateway.links.
"""
