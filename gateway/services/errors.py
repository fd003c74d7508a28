"""Defines the errors of microservices.

ServicesError
├─ ImageError         an image or its microservice.toml cannot be used
│  └─ ImageSizeError   it is beyond a limit
├─ NotFoundError           no such image or container
├─ ConflictError           it clashes with what is there
├─ StorageError       the disk does not take it
└─ DeployError        a container did not become ready
"""


class ServicesError(Exception):
    """Base of this package's errors; messages read "cannot X: why"."""


class ImageError(ServicesError):
    """An image is malformed, hostile, or not for this gateway."""


class ImageSizeError(ImageError):
    """An image is larger than this gateway takes."""


class NotFoundError(ServicesError):
    """There is no such image or container."""


class ConflictError(ServicesError):
    """The request conflicts with the present state."""


class StorageError(ServicesError):
    """Something cannot be written, often because the disk is full."""


class DeployError(ServicesError):
    """A process did not become ready; what ran before it runs on."""
