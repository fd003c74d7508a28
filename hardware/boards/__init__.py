"""Flashes and provisions boards over serial ports, with esptool and mpremote as programs."""
