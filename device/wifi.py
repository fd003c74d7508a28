"""Joins a Wi-Fi network by any object that works like network.WLAN(network.STA_IF)."""

import asyncio
import time

from device.errors import ConfigError, LinkLost, Unreachable
from micropython import const

_POLL_MS = const(200)
_FAILED = const(0)  # the Pico W's status is below this when an attempt has failed; it does not repeat
_BAD_PASSWORD = (-3, 202)  # Pico W, ESP32
_RESET_AT = const(40)  # steps, about twenty minutes: reset the board


async def connect_wifi(wlan, config, timeout_s=20):
    """Return when the board has an address; LinkLost when that fails or takes too long."""
    if wlan.isconnected():
        return
    if not config.wifi_ssid:
        raise ConfigError("cannot join Wi-Fi: wifi_ssid is not in config.json")
    wlan.active(True)
    wlan.disconnect()  # an attempt that hangs makes the next connect() an error
    wlan.connect(config.wifi_ssid, config.wifi_password)
    started = time.ticks_ms()
    while not wlan.isconnected():
        await asyncio.sleep_ms(_POLL_MS)
        status = wlan.status()
        is_late = time.ticks_diff(time.ticks_ms(), started) > timeout_s * 1000
        if is_late or (status < _FAILED and not wlan.isconnected()):
            # an access point may lock out a board that tries a wrong password too often
            kind = LinkLost if status in _BAD_PASSWORD else Unreachable
            raise kind("cannot join Wi-Fi %s: status %s" % (config.wifi_ssid, status))
    print("device: Wi-Fi address", wlan.ifconfig()[0])


async def recover_wifi(wlan, step, reset):
    """Do more and more about a network that lets nothing through: leave it, switch it off, reset.

    isconnected() can stay true although nothing passes. connect_wifi() joins again afterwards.
    """
    if step % _RESET_AT == 0:
        print("device: nothing passes the network: resetting")
        reset()
    elif step % 2 == 0:
        wlan.active(False)
        await asyncio.sleep_ms(_POLL_MS)
        wlan.active(True)
    else:
        wlan.disconnect()
        await asyncio.sleep_ms(_POLL_MS)
    return True
