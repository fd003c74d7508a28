"""Joins a Wi-Fi network by any object that works like network.WLAN(network.STA_IF)."""

import asyncio
import time

from device.errors import ConfigError, LinkLost

_POLL_MS = 200


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
