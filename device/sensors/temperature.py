"""Measures temperature: by the board's own sensor, or simulated like a room's."""

import random


class BoardTemperature:
    """The sensor in the chip; it shows the chip's warmth, a few degrees above the room."""

    def __init__(self, board):
        self._board = board

    def read(self):
        """Return °C, or None when the board has no sensor."""
        value = self._board.celsius()
        return None if value is None else round(value, 1)


class WanderingTemperature:
    """A simulated room: each reading is a step from the last, drawn back to its middle."""

    def __init__(self, middle=21.0, step=0.3, uniform=random.uniform):
        self._middle = middle
        self._step = step
        self._uniform = uniform
        self._value = middle

    def read(self):
        """Return °C."""
        pull = (self._middle - self._value) * 0.05
        self._value += pull + self._uniform(-self._step, self._step)
        return round(self._value, 2)


def rp2_celsius(raw):
    """Return °C from the RP2040's sensor, a 16-bit reading of 3.3 V (datasheet 4.9.5)."""
    return 27 - (raw * 3.3 / 65535 - 0.706) / 0.001721
