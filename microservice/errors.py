"""Defines the errors of the kit.

MicroserviceError
├─ ServiceError          a handler, topic or path of the service cannot work
├─ PublishError          the broker did not accept a message, or is not reachable
│  └─ PublishSizeError    the message is larger than the broker takes
├─ RequestTimeoutError   nobody answered a request over MQTT in time
├─ SettingError          a setting or secret is not declared, or has no value
├─ StoreError            a value of the state cannot be read or stored
│  ├─ FullStoreError      the store has its full size
│  └─ DamagedStoreError   the file was changed by something else, or lost a part
├─ ControlError          a line between gateway and process is malformed
├─ HangupError           the client has hung up
├─ OutboundError         a request of the service failed
│  ├─ OutboundRefusedError   microservice.toml does not allow it
│  └─ OutboundTimeoutError   a limit passed
└─ HttpError             a handler raises it to answer with a problem document
"""

LEAST_STATUS, LAST_STATUS = 200, 599  # those below are no answers yet


class MicroserviceError(Exception):
    """Base of the kit's errors; messages read "cannot X: why"."""


class ServiceError(MicroserviceError):
    """A handler, topic or path cannot work."""


class PublishError(MicroserviceError):
    """The broker refused a message, or cannot be reached."""


class RequestTimeoutError(MicroserviceError):
    """Nobody answered a request over MQTT in time."""


class SettingError(MicroserviceError, KeyError):
    """A setting or secret is not declared in microservice.toml, or has no value."""

    __str__ = Exception.__str__  # KeyError shows its message in quotes


class StoreError(MicroserviceError):
    """A value of the state cannot be read or stored."""


class FullStoreError(StoreError):
    """The store takes no more: `[limits] store_mib` of microservice.toml is too small."""


class DamagedStoreError(StoreError):
    """The file of the store is damaged; only this container needs it."""


class PublishSizeError(PublishError):
    """The broker takes no message of this size."""


class ControlError(MicroserviceError):
    """A line between gateway and process is malformed."""


class HangupError(MicroserviceError):
    """The client hung up while its request was being read or answered."""


class OutboundError(MicroserviceError):
    """A request of the service failed; status is that of the gateway's refusal, 0 without one."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class OutboundRefusedError(OutboundError):
    """The gateway refuses a request: microservice.toml does not allow it."""


class OutboundTimeoutError(OutboundError):
    """A request of the service took too long."""


class HttpError(MicroserviceError):
    """An error as an answer: `raise HttpError(404, "no such room")`."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = check_status(status)
        self.detail = detail


def check_status(status: int) -> int:
    """Return the status of an answer; ValueError when HTTP has none like it (RFC 9110, 15)."""
    if not isinstance(status, int) or not LEAST_STATUS <= status <= LAST_STATUS:
        raise ValueError(
            f"cannot answer with status {status!r}: must be {LEAST_STATUS} to {LAST_STATUS}"
        )
    return status
