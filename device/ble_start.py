"""Makes the radio of a device with Bluetooth LE. Loaded once, and freed."""

from device.errors import ConfigError
from micropython import const

_TIMEOUTS = const(6000)  # timeout_s to milliseconds, times six: how long a gateway is waited for


def open_radio(config, reset, waiting):
    """Return the BlePeripheral, or None for another kind of link; ConfigError without Bluetooth."""
    if config.link != "ble":
        return None
    try:
        from device.ble import BlePeripheral
    except ImportError:
        raise ConfigError("cannot use Bluetooth: this firmware has no module bluetooth")
    return BlePeripheral(int(config.timeout_s * _TIMEOUTS), reset, waiting)
