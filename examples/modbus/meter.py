"""Simulates the meter on a pseudo terminal: `python examples/modbus/meter.py`.

Modbus RTU (Modbus over serial line V1.02, 2.5.1): address, function, data, CRC-16 with its low
byte first. The simulation answers function 4, read input registers, for one address.
"""

import os
import struct
import tty

UNIT = 1
REGISTERS = (2305, 412, 0x0001, 0xE240)  # 230.5 V, 4.12 A, 123.456 kWh in two registers
READ_INPUT_REGISTERS, ILLEGAL_FUNCTION, ILLEGAL_ADDRESS = 4, 1, 2
REQUEST_BYTES = 8


def answer(request: bytes) -> bytes:
    """Return the answer to a whole request; nothing, as a meter does, if it is for another one."""
    unit, function, address, count = struct.unpack(">BBHH", request[:6])
    if unit != UNIT or crc(request[:6]) != request[6:]:
        return b""
    if function != READ_INPUT_REGISTERS:
        return framed(bytes((unit, function | 0x80, ILLEGAL_FUNCTION)))
    wanted = REGISTERS[address : address + count]
    if len(wanted) != count:
        return framed(bytes((unit, function | 0x80, ILLEGAL_ADDRESS)))
    return framed(struct.pack(f">BBB{count}H", unit, function, 2 * count, *wanted))


def framed(message: bytes) -> bytes:
    """Return a message with its checksum."""
    return message + crc(message)


def crc(message: bytes) -> bytes:
    """Return the CRC-16 of a message: polynomial 0xA001, reflected, from 0xFFFF."""
    value = 0xFFFF
    for byte in message:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0xA001 if value & 1 else 0)
    return value.to_bytes(2, "little")


def open_line() -> tuple[int, str]:
    """Return the meter's end of a new line, and the path of the other end."""
    ours, theirs = os.openpty()
    tty.setraw(theirs)
    path = os.ttyname(theirs)
    os.fchmod(theirs, 0o666)  # a container has a user of its own
    return ours, path  # theirs stays open, so that the line outlives those who close it


def serve(line: int) -> None:
    """Answer requests until the line is closed."""
    buffer = b""
    while data := os.read(line, 256):
        buffer += data
        while len(buffer) >= REQUEST_BYTES:
            if reply := answer(buffer[:REQUEST_BYTES]):
                os.write(line, reply)
            buffer = buffer[REQUEST_BYTES:]


if __name__ == "__main__":
    ours, path = open_line()
    print(path, flush=True)  # noqa: T201  # it is the output
    serve(ours)
