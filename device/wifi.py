"""Joins a Wi-Fi network by any object that works like network.WLAN(network.STA_IF)."""

import asyncio
import time

from device.errors import ConfigError, LinkLost
from micropython import const

_POLL_MS = const(200)
_LEAVE_AT = const(3)  # rounds in a row without a word from the gateway: leave the network
_OFF_AT = const(6)  # switch the interface off and on
_RESET_AT = const(24)  # reset the board; about twenty minutes with the default pauses


async def connect_wifi(wlan, config, timeout_s=20):
    """Return when the board has an address; LinkLost when that takes too long."""
    if wlan.isconnected():
        return
    if not config.wifi_ssid:
        raise ConfigError("cannot join Wi-Fi: wifi_ssid is not in config.json")
    wlan.active(True)
    wlan.disconnect()  # an attempt that hangs makes the next connect() an error
    wlan.connect(config.wifi_ssid, config.wifi_password)
    started = time.ticks_ms()
    while not wlan.isconnected():
        if time.ticks_diff(time.ticks_ms(), started) > timeout_s * 1000:
            raise LinkLost("cannot join Wi-Fi %s: status %s" % (config.wifi_ssid, wlan.status()))
        await asyncio.sleep_ms(_POLL_MS)
    print("device: Wi-Fi address", wlan.ifconfig()[0])


async def recover_wifi(wlan, lost_rounds, reset):
    """Do more and more about a network that lets nothing through; return whether it did something.

    isconnected() can stay true although nothing passes. connect_wifi() joins again afterwards.
    """
    if lost_rounds % _RESET_AT == 0:
        print("device: nothing passes the network: resetting")
        reset()
    elif lost_rounds % _OFF_AT == 0:
        wlan.active(False)
        await asyncio.sleep_ms(_POLL_MS)
        wlan.active(True)
    elif lost_rounds % _LEAVE_AT == 0:
        wlan.disconnect()
        await asyncio.sleep_ms(_POLL_MS)
    else:
        return False
    return True
