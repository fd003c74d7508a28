"""Finds the board of this machine: one object with everything that differs between boards.

unique_id() -> str              the same after every start; at most 23 characters
async connect_network(config)   returns when IP works; LinkLost otherwise
async recover_network(step) -> bool   restart it, more thoroughly at each step; whether it did
dns() -> (address[, port]) or None   the DNS server; None: getaddrinfo() asks, and stops the board
async live()                    optional: work of the board that runs beside the program
open_serial(name, baud) -> line   a line of board_serial.py, for a link without IP
rssi() -> int                   optional: the signal of the network, in dBm
now() -> int or None            unix seconds; None when the clock may be wrong
set_time(unix)                  the gateway has told the time
set_floor(unix)                 it is at least so late: for the verification of certificates
light(on)                       the board's own LED, if it has one
celsius() -> float or None      its own temperature sensor, if it has one
start_watchdog(seconds), feed(), rest()   a reset when feed() does not come; rest(): for the REPL
was_power_on() -> bool          whether power, not a reset, started the board
reset()                         start again; does not return
"""

import sys

from device.errors import ConfigError


def load_board(platform=sys.platform):
    """Return the Board of a platform as sys.platform names it."""
    if platform in ("linux", "darwin"):
        from device.board_unix import Board
    elif platform == "esp32":
        from device.board_esp32 import Board
    elif platform == "rp2":
        from device.board_pico_w import Board
    else:
        raise ConfigError("cannot run on %s: no board_*.py for it" % platform)
    return Board()
