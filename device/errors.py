"""Defines the errors of a device; messages read "cannot X: why".

DeviceError
├─ ConfigError      what lies on the flash cannot be used
├─ WireError        a peer sent what MQTT or the contract does not allow
├─ LinkLost         the connection ended: try again
│  └─ Unreachable   nobody took the connection: an attempt costs the gateway nothing
│     └─ NotListening   its host is there, so the network works
└─ Refused          the other side said no: try again, but seldom
   └─ CredentialsRefused   because of user name and password
"""


class DeviceError(Exception):
    """Base of this package's errors."""


class ConfigError(DeviceError):
    """config.json or credentials.json cannot be used."""


class WireError(DeviceError):
    """A peer sent bytes or fields that the protocol does not allow."""


class LinkLost(DeviceError):
    """The connection ended or never came up."""


class Unreachable(LinkLost):
    """Nobody took the connection: no network, or no answer."""


class NotListening(Unreachable):
    """The gateway's host refuses the connection, or closes it before the first byte."""


class Refused(DeviceError):
    """The broker or the gateway refused the device."""


class CredentialsRefused(Refused):
    """The broker does not accept user name and password."""
