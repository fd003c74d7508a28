"""Defines the errors of the radio."""


class RadioError(Exception):
    """The radio or a device did not do what was asked."""


class AdapterMissingError(RadioError):
    """No adapter can be used; the text says what to do."""


class LinkLostError(RadioError):
    """The link to a device has ended."""


class BondLostError(RadioError):
    """A device does not have the key of its bond any more, or another uses its address."""


class StaleLayoutError(RadioError):
    """The services that the system remembers of a device are not those that it has now."""
