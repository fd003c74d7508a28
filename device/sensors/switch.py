"""Drives a switch by commands: an LED, a relay, a light."""


class Switch:
    """Remembers its state and hands it to `output`, called with True or False."""

    def __init__(self, output=None):
        self.is_on = False
        self._output = output

    def set(self, on):
        """Switch it; ValueError when `on` is not true or false."""
        if not isinstance(on, bool):
            raise ValueError("on is not true or false")
        if self._output is not None:
            self._output(on)
        self.is_on = on


class SimulatedSwitch(Switch):
    """A switch that keeps what was done to it."""

    def __init__(self):
        self.history = []
        super().__init__(self.history.append)
