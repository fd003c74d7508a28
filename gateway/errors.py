"""Defines the errors of the gateway.

GatewayError                     the gateway cannot start or continue; people read the message
├─ ConfigError                   the configuration cannot be used
├─ UplinkError                   a call to the cloud failed
│  ├─ CloudRefused               it fails again until something changes: retry seldom
│  ├─ CallTooLarge               a request to another node, or its answer, is too large
│  ├─ OutcomeUnknown             another node may have carried out a request: ask before a retry
│  └─ UplinkLost                 it may work the next time: retry with backoff
│     ├─ CallNotSent             nothing of a request was sent: another way may be tried
│     ├─ StaleClaim              the cloud knows a newer claim of this node's SEP
│     └─ MqttVersionUnsupported  it may work with an older version of MQTT
├─ AccountError                  the node's membership in an account cannot change
├─ ClusterError                  a peer of the cluster cannot be reached
│  └─ PeerRefuses                it does not admit this node
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


class CallTooLarge(UplinkError):  # noqa: N818  # an event
    """A request to another node, or its answer, is larger than its way carries."""


class OutcomeUnknown(UplinkError):  # noqa: N818  # an event
    """A request was sent, there is no answer, and it may have been carried out."""


class CallNotSent(UplinkLost):
    """Nothing of a request was sent."""


class StaleClaim(UplinkLost):
    """The cloud knows a newer claim of this node's SEP; it works with a higher epoch."""

    def __init__(self, message: str, epoch: int) -> None:
        super().__init__(message)
        self.epoch = epoch


class MqttVersionUnsupported(UplinkLost):
    """The peer answers, but not in this version of MQTT."""


class AccountError(GatewayError):
    """The node cannot join or leave an account now."""


class ClusterError(GatewayError):
    """A peer of the cluster cannot be reached, or refuses this node."""


class PeerRefuses(ClusterError):  # noqa: N818  # an event
    """A peer does not admit this node; the message is its reason."""


class BepError(GatewayError):
    """A BEP cannot be opened or ended now."""
