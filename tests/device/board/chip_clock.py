"""The clock of a chip, and the floor that TLS sets it to, with stand-ins for the chip."""

import os
import sys
import time

CA = "ca.crt"
DIRECTORY = "/tmp/hecate-test-clock-%d" % int.from_bytes(os.urandom(6), "little")
FLOOR = 1900000000  # the time of the gateway, before a reset
AFTER_2038 = 2200000000


class Rtc:
    """A clock that was never set; it ends like a signed number of 32 bits."""

    unix = 1609459200  # 2021

    def datetime(self, parts):
        Rtc.unix = int(time.mktime((parts[0], parts[1], parts[2], parts[4], parts[5], parts[6], 0, 0)))


class Clock:
    """The module time of the chip."""

    @staticmethod
    def time():
        return Rtc.unix

    @staticmethod
    def gmtime(seconds):
        if seconds >= 1 << 31:
            raise OverflowError("overflow converting long int to machine word")
        return time.gmtime(seconds)


class Module:
    """An attribute bag that stands for a module."""


def make_board():
    machine, network = Module(), Module()
    machine.RTC = Rtc
    network.STA_IF, network.WLAN = 0, lambda interface: None
    sys.modules["machine"], sys.modules["network"] = machine, network
    from device import board_machine

    board_machine.time = Clock
    Rtc.unix = 1609459200
    return board_machine.MachineBoard()


# case L20
def test_the_floor_sets_a_clock_that_is_early_and_no_other():
    board = make_board()
    board.set_floor(FLOOR)
    assert Rtc.unix == FLOOR
    board.set_floor(FLOOR - 1000)
    assert Rtc.unix == FLOOR
    board.set_time(FLOOR - 1000)  # the gateway knows better
    assert Rtc.unix == FLOOR - 1000


def test_a_time_that_the_chip_cannot_hold_ends_nothing():
    board = make_board()
    for unix in (AFTER_2038, 1 << 60):
        board.set_time(unix)
        board.set_floor(unix)
    assert Rtc.unix == 1609459200
    from device.clock import DeviceClock

    clock = DeviceClock(board, time.ticks_ms, time.ticks_diff)
    clock.set(AFTER_2038)
    assert clock.now() >= AFTER_2038  # readings are dated all the same


# case L20
def test_tls_sets_the_floor_before_it_verifies():
    from device import tls

    home = os.getcwd()
    os.mkdir(DIRECTORY)
    os.chdir(DIRECTORY)
    try:
        for content, floor in (("%d" % FLOOR, FLOOR), ("9" * 30, tls.floor_of(0))):
            with open("time", "w") as file:
                file.write(content)
            with open(CA, "w") as file:
                file.write("no certificate")
            board = make_board()
            try:
                tls.wrap(None, None, board, True)
            except tls.ConfigError as exc:
                assert CA in str(exc)
            assert Rtc.unix == floor
        with open(CA, "w") as file:
            file.write("x" * 100000)
        try:
            tls.wrap(None, None, board, True)
            raise AssertionError("no error")
        except tls.ConfigError as exc:
            assert "100000 bytes" in str(exc)
    finally:
        for name in os.listdir("."):
            os.remove(name)
        os.chdir(home)
        os.rmdir(DIRECTORY)
