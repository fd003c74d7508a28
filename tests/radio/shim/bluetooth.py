"""Stands in for MicroPython's module `bluetooth` on the Unix port; peripherals only.

The file `radio` in the working directory, which is the board's flash, has the port of the virtual
radio and the address of this board. tests/radio/peripheral.py describes what passes between both.

Like the real module: buffers of 20 bytes unless gatts_set_buffer() says more, a write that is not
read before the next is overwritten, the address in an event is valid in the handler only, and
gatts_notify() fails when too many notifications wait to be sent.
"""

import asyncio
import binascii
import json
import select
import socket

FLAG_READ = 0x02
FLAG_WRITE_NO_RESPONSE = 0x04
FLAG_WRITE = 0x08
FLAG_NOTIFY = 0x10
FLAG_INDICATE = 0x20

_IRQ_CENTRAL_CONNECT = 1
_IRQ_CENTRAL_DISCONNECT = 2
_IRQ_GATTS_WRITE = 3
_IRQ_GATTS_INDICATE_DONE = 20
_IRQ_MTU_EXCHANGED = 21
_WAITING_NOTIFICATIONS = 10
_RECEIVED_BYTES = 128
_LINE_BYTES = 1400
_ENOMEM, _EINVAL, _ENODEV, _ENOTCONN = 12, 22, 19, 107
_ADDRESS_RANDOM = 1


class UUID:
    """A UUID of 16 or 128 bits; its bytes are in the order of the air."""

    def __init__(self, value):
        if isinstance(value, int):
            self._bytes = bytes((value & 255, value >> 8))
        elif isinstance(value, str):
            self._bytes = bytes(reversed(binascii.unhexlify(value.replace("-", ""))))
        else:
            self._bytes = bytes(value)

    def __iter__(self):
        return iter(self._bytes)

    def __len__(self):
        return len(self._bytes)

    def __getitem__(self, index):
        return self._bytes[index]

    def __eq__(self, other):
        return isinstance(other, UUID) and self._bytes == other._bytes

    def __hash__(self):
        return hash(self._bytes)

    def hex(self):
        """Return the digits as people write them, without dashes."""
        return binascii.hexlify(bytes(reversed(self._bytes))).decode().upper()

    def __repr__(self):
        return "UUID('%s')" % self.hex()


class BLE:
    """The Bluetooth stack; there is one."""

    _instance = None

    def __new__(cls):
        if cls._instance is None:
            cls._instance = super().__new__(cls)
            cls._instance._begin()
        return cls._instance

    def __init__(self):
        pass

    def _begin(self):
        self._socket = None
        self._handler = None
        self._task = None
        self._config = {"gap_name": b"MPY", "mtu": 256, "rxbuf": 0, "addr_mode": 0}
        self._address = bytearray(6)  # of the event that is handled
        self._forget()

    def _forget(self):
        self._values = {}
        self._buffers = {}
        self._connections = {}  # number: notifications that wait to be sent
        self._last_handle = 8  # of the services GAP and GATT

    def irq(self, handler):
        self._handler = handler

    def active(self, value=None):
        if value is None or bool(value) == (self._socket is not None):
            return self._socket is not None
        if not value:
            self._stop()
            return False
        with open("radio") as file:
            port, address = file.read().split()
        self._socket = socket.socket()
        self._socket.connect(socket.getaddrinfo("127.0.0.1", int(port))[0][-1])
        self._socket.setsockopt(6, 1, b"\x01\x00\x00\x00")  # TCP_NODELAY: two lines cost 40 ms else
        self._tell("start", address)
        self._tell("mtu", self._config["mtu"])
        self._task = asyncio.create_task(self._listen(self._socket))
        return True

    def config(self, *names, **values):
        if names:
            if names[0] == "mac":
                self._need()
                with open("radio") as file:
                    address = file.read().split()[1]
                return _ADDRESS_RANDOM, binascii.unhexlify(address.replace(":", ""))
            return self._config[names[0]]
        self._config.update(values)
        if "mtu" in values and self._socket is not None:
            self._tell("mtu", values["mtu"])

    def gatts_register_services(self, services):
        self._need()
        described, handles = [], []
        for service, characteristics in services:
            self._last_handle += 1
            of_service = [self._new_handle(entry) for entry in characteristics]
            handles.append(tuple(of_service))
            described.append(
                (
                    service.hex(),
                    [(e[0].hex(), e[1], h) for e, h in zip(characteristics, of_service)],
                )
            )
        self._tell("services", described)
        return tuple(handles)

    def _new_handle(self, entry):
        value_handle = self._last_handle + 2
        self._last_handle = value_handle
        if entry[1] & (FLAG_NOTIFY | FLAG_INDICATE):
            self._last_handle += 1  # of the descriptor by which a central subscribes
        self._last_handle += len(entry[2]) if len(entry) > 2 else 0
        self._values[value_handle] = b""
        return value_handle

    def gatts_set_buffer(self, handle, size, append=False):
        self._check(handle)
        self._buffers[handle] = (size, append)

    def gatts_read(self, handle):
        self._check(handle)
        value = self._values[handle]
        if self._buffers.get(handle, (20, False))[1]:
            self._values[handle] = b""
        return value

    def gatts_write(self, handle, data, send_update=False):
        self._check(handle)
        self._values[handle] = bytes(data)
        self._tell("set", handle, _hex(data))
        if send_update:
            for connection in self._connections:
                self.gatts_notify(connection, handle, data)

    def gatts_notify(self, connection, handle, data=None):
        self._send(connection, "notify", handle, data)

    def gatts_indicate(self, connection, handle, data=None):
        self._send(connection, "indicate", handle, data)

    def _send(self, connection, kind, handle, data):
        self._check(handle)
        if connection not in self._connections:
            raise OSError(_ENOTCONN)
        if self._connections[connection] >= _WAITING_NOTIFICATIONS:
            raise OSError(_ENOMEM)
        self._connections[connection] += 1
        data = self._values[handle] if data is None else data
        self._tell(kind, connection, handle, _hex(data))

    def gap_advertise(self, interval_us, adv_data=None, *, resp_data=None, connectable=True):
        self._need()
        if adv_data is not None and len(adv_data) > 31:
            raise OSError(_EINVAL)
        self._tell("advertise", interval_us, _hex(adv_data))

    def gap_disconnect(self, connection):
        self._need()
        self._tell("disconnect", connection)
        return connection in self._connections

    def _need(self):
        if self._socket is None:
            raise OSError(_ENODEV)

    def _check(self, handle):
        self._need()
        if handle not in self._values:
            raise OSError(_EINVAL)

    def _stop(self):
        self._socket.close()
        self._socket = None
        self._task.cancel()
        self._forget()

    def _tell(self, *message):
        self._socket.write(json.dumps(message))
        self._socket.write("\n")

    def _listen(self, sock):  # a generator, which MicroPython runs as a task
        poller = select.poll()
        poller.register(sock, select.POLLIN)
        # a real stack needs nothing of the heap: small pieces, for a heap that is full of holes
        line, used = memoryview(bytearray(_LINE_BYTES)), 0
        while sock is self._socket:
            yield asyncio.core._io_queue.queue_read(sock)
            # all that has come, and no task between: events do not wait for the program
            while sock is self._socket and poller.poll(0):
                octets = sock.recv(_RECEIVED_BYTES)
                if not octets:
                    return
                while octets:
                    end = octets.find(b"\n")
                    part = octets if end < 0 else octets[:end]
                    line[used : used + len(part)] = part
                    used += len(part)
                    octets = b"" if end < 0 else octets[end + 1 :]
                    if end >= 0 and sock is self._socket:
                        message = json.loads(line[:used])
                        getattr(self, "_on_" + message[0])(*message[1:])
                    used = used if end < 0 else 0

    def _raise(self, event, data):
        if self._handler is not None:
            self._handler(event, data)

    def _peer(self, event, connection, address):
        self._address[:] = binascii.unhexlify(address)
        self._raise(event, (connection, _ADDRESS_RANDOM, memoryview(self._address)))
        self._address[:] = b"\xee" * 6

    def _on_connected(self, connection, address):
        self._connections[connection] = 0
        self._peer(_IRQ_CENTRAL_CONNECT, connection, address)

    def _on_disconnected(self, connection, address):
        self._connections.pop(connection, None)
        self._peer(_IRQ_CENTRAL_DISCONNECT, connection, address)

    def _on_mtu(self, connection, mtu):
        self._raise(_IRQ_MTU_EXCHANGED, (connection, mtu))

    def _on_write(self, connection, handle, value):
        size, append = self._buffers.get(handle, (20, False))
        kept = self._values[handle] if append else b""
        self._values[handle] = (kept + binascii.unhexlify(value))[:size]
        self._raise(_IRQ_GATTS_WRITE, (connection, handle))

    def _on_sent(self, connection, handle):
        if self._connections.get(connection):
            self._connections[connection] -= 1

    def _on_confirmed(self, connection, handle):
        self._on_sent(connection, handle)
        self._raise(_IRQ_GATTS_INDICATE_DONE, (connection, handle, 0))


def _hex(data):
    return None if data is None else binascii.hexlify(data).decode()
