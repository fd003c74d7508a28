"""Errors of the kit.

MicroserviceError
├─ ServiceError     the service is written in a way that cannot work
├─ PublishError     a message did not reach the broker, or may not
├─ ControlError     gateway and process do not understand each other
├─ HangupError       who asked is not there any more
└─ HttpError      raise it to answer a request with a problem document
"""


class MicroserviceError(Exception):
    """Base of the kit's errors; messages read "cannot X: why"."""


class ServiceError(MicroserviceError):
    """A handler, topic or path is written in a way that cannot work."""


class PublishError(MicroserviceError):
    """A message was refused, or the broker cannot be reached."""


class ControlError(MicroserviceError):
    """A line between gateway and process means nothing."""


class HangupError(MicroserviceError):
    """The client hung up while its request was being read or answered."""


class HttpError(MicroserviceError):
    """An answer that is an error: `raise HttpError(404, "no such room")`."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
