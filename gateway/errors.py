"""Errors of the gateway.

GatewayError           the gateway cannot start or go on; the message is for a person
├─ ConfigError         the configuration cannot be used
├─ UplinkError         a call to the cloud failed
│  ├─ Refused          it will fail again until something changes: retry seldom
│  └─ LinkLost         it may work the next time: retry with backoff
│     └─ NotSpoken     it may work with an older version of MQTT
├─ AccountError        the node's membership in an account cannot change
└─ BepError            a tunnel cannot be had now
"""


class GatewayError(Exception):
    """Base of this package's errors; messages read "cannot X: why"."""


class ConfigError(GatewayError):
    """The configuration holds an unknown key or a value that cannot be used."""


class UplinkError(GatewayError):
    """The cloud could not be reached or did not do what it was asked."""


class Refused(UplinkError):  # noqa: N818  # says what happened
    """The cloud understood and said no; code is the error code of OAuth 2.0, if it gave one."""

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code


class LinkLost(UplinkError):  # noqa: N818  # says what happened
    """The connection broke, the cloud is away or overloaded."""


class NotSpoken(LinkLost):
    """The peer answers, and not in this version of MQTT."""


class AccountError(GatewayError):
    """The node cannot join or leave an account now."""


class BepError(GatewayError):
    """There is no BEP now."""
