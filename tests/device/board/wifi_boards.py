"""Wi-Fi and the thin board files, with stand-ins for the chips' modules. On MicroPython only.

This shows that the files load and that Wi-Fi joining waits, gives up and reports; it shows nothing
about hardware.
"""

import asyncio
import json
import sys

from device import wifi
from device.config import parse_config
from device.errors import ConfigError, LinkLost, Unreachable


class Wlan:
    """As much of network.WLAN as is used; has an address after so many questions."""

    def __init__(self, interface=None, polls=0, state=201):
        self.polls = polls
        self.state = state
        self.calls = []

    def isconnected(self):
        self.polls -= 1
        return self.polls < 0 and ("connect", "home", "secret") in self.calls

    def active(self, on):
        self.calls.append(("active", on))

    def disconnect(self):
        self.calls.append(("disconnect",))

    def connect(self, ssid, password):
        self.calls.append(("connect", ssid, password))

    def status(self):
        return self.state

    def ifconfig(self):
        return ("10.0.0.7",)


class Module:
    """An attribute bag that stands for a module."""


class Pin:
    OUT = 1

    def __init__(self, pin, mode):
        self.state = None

    def value(self, state):
        self.state = state


def config(ssid="home"):
    text = '{"name": "n", "host": "h", "wifi_ssid": "%s", "wifi_password": "secret"}'
    return parse_config(text % ssid)


def failure(kind, wlan, settings, limit_s=0.3):
    try:
        asyncio.run(wifi.connect_wifi(wlan, settings, limit_s))
    except kind as exc:
        return str(exc)
    raise AssertionError("nothing was raised")


def test_waits_for_an_address():
    wlan = Wlan(polls=2)
    asyncio.run(wifi.connect_wifi(wlan, config()))
    assert wlan.calls == [("active", True), ("disconnect",), ("connect", "home", "secret")]
    asyncio.run(wifi.connect_wifi(wlan, config()))
    assert len(wlan.calls) == 3


def test_gives_up_and_keeps_the_password_to_itself():
    message = failure(LinkLost, Wlan(polls=1000), config())
    assert message == "cannot join Wi-Fi home: status 201"


def test_gives_up_at_once_when_the_chip_has():
    for state in (-2, -1):  # no such network, failed
        wlan = Wlan(polls=1000, state=state)
        assert "status %d" % state in failure(Unreachable, wlan, config(), 1000)


def test_a_wrong_password_is_not_tried_as_often():
    for state in (-3, 202):
        try:
            asyncio.run(wifi.connect_wifi(Wlan(polls=1000, state=state), config(), 0.3))
        except LinkLost as exc:
            assert not isinstance(exc, Unreachable)


# case D8
def test_a_network_that_lets_nothing_through_is_restarted_more_and_more():
    wlan, resets = Wlan(), []
    for step in (1, 2, 3, 4, 40):
        assert asyncio.run(wifi.recover_wifi(wlan, step, lambda: resets.append(1)))
    assert wlan.calls[:3] == [("disconnect",), ("active", False), ("active", True)]
    assert wlan.calls[3:] == wlan.calls[:3]
    assert resets == [1]


def test_names_and_passwords_arrive_as_they_were_given():  # case L18
    for ssid, password in (
        ("a:b", '"%\\ \'x'),
        ("Caf\u00e9\u2019s", "p" * 63),
        ("x" * 32, " blank at both ends "),
    ):
        table = {"name": "n", "host": "h", "wifi_ssid": ssid, "wifi_password": password}
        wlan = Wlan(polls=1000)
        try:
            asyncio.run(wifi.connect_wifi(wlan, parse_config(json.dumps(table)), 0.1))
        except LinkLost:
            pass
        assert wlan.calls[-1] == ("connect", ssid, password)


def test_needs_a_network_name():
    assert "wifi_ssid" in failure(ConfigError, Wlan(), config(""))


def install_chip_modules():
    machine, network, esp32 = Module(), Module(), Module()
    machine.Pin = Pin
    machine.ADC = lambda number: Module()
    machine.unique_id = lambda: b"\x01\xab"
    network.STA_IF = 0
    network.WLAN = Wlan
    esp32.mcu_temperature = lambda: 40
    for name, module in (("machine", machine), ("network", network), ("esp32", esp32)):
        sys.modules[name] = module


def test_board_files_load_and_have_all_that_a_board_has():
    install_chip_modules()
    from device.board import load_board

    for platform, board_id in (("esp32", "esp32-01ab"), ("rp2", "pico-01ab")):
        board = load_board(platform)
        assert board.unique_id() == board_id
        board.light(True)
        assert all(hasattr(board, n) for n in ("connect_network", "celsius", "reset"))
        assert board.now() is None
    assert load_board("esp32").celsius() == 40
