"""Hecate's device package: a MicroPython program that joins a gateway. See docs/device.md."""

from device.app import Device
