"""Defines the errors of requests about sensors."""

from gateway.errors import GatewayError


class SensorError(GatewayError):
    """A decision about a sensor cannot be carried out."""


class UnknownSensorError(SensorError):
    """No such sensor was heard, or the device is none."""


class BindKeyError(SensorError):
    """A bind key is missing, or is another sensor's."""
