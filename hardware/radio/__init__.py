"""Reaches Bluetooth LE devices through bleak: adapters, advertisements, links."""
