"""Errors of the gateway.

GatewayError                     the gateway cannot start or continue; people read the message
├─ ConfigError                   the configuration cannot be used
├─ UplinkError                   a call to the cloud failed
│  ├─ CloudRefused               it fails again until something changes: retry seldom
│  └─ UplinkLost                 it may work the next time: retry with backoff
│     └─ MqttVersionUnsupported  it may work with an older version of MQTT
├─ AccountError                  the node's membership in an account cannot change
└─ BepError                      a tunnel cannot be opened now
"""


class GatewayError(Exception):
    """Base of this package's errors; messages read "cannot X: why"."""


class ConfigError(GatewayError):
    """The configuration holds an unknown key or a value that cannot be used."""


class UplinkError(GatewayError):
    """The cloud could not be reached or did not do what this node requested."""


class CloudRefused(UplinkError):  # noqa: N818  # an event
    """The cloud refused the request; code is the error code of OAuth 2.0, if there is one."""

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code


class UplinkLost(UplinkError):  # noqa: N818  # an event
    """The connection broke, or the cloud is unreachable or overloaded."""


class MqttVersionUnsupported(UplinkLost):
    """The peer answers, but not in this version of MQTT."""


class AccountError(GatewayError):
    """The node cannot join or leave an account now."""


class ClusterError(GatewayError):
    """A peer of the cluster cannot be reached, or refuses this node."""


class BepError(GatewayError):
    """A BEP cannot be opened or ended now."""
