"""Sends the events of dispatchWebSocketEvent to the WebSockets that are connected."""

import asyncio
import contextlib
import json
from collections import deque

from microservice.errors import MicroserviceError
from microservice.web import Receive, Send

CLIENTS = 64
EVENT_LIMIT = 256 * 1024  # characters of one event
WAITING_LIMIT = 1024 * 1024  # characters that a client has not taken; a slower one is cut off
TRY_AGAIN_LATER, POLICY = 1013, 1008  # RFC 6455, 7.4.1, and the registry that it names


class _EventClient:
    """One WebSocket, and the frames that it has not taken yet."""

    def __init__(self) -> None:
        self.frames: deque[str] = deque()
        self.waiting = 0
        self.is_cut_off = False
        self.wake = asyncio.Event()

    def add(self, frame: str) -> None:
        if self.waiting + len(frame) > WAITING_LIMIT:
            self.is_cut_off = True
            self.frames.clear()
        else:
            self.frames.append(frame)
            self.waiting += len(frame)
        self.wake.set()

    async def send_all(self, send: Send) -> None:
        while not self.is_cut_off:
            self.wake.clear()
            while self.frames:
                frame = self.frames.popleft()
                await send({"type": "websocket.send", "text": frame})
                self.waiting -= len(frame)
            await self.wake.wait()
        with contextlib.suppress(RuntimeError):  # it may have gone meanwhile
            await send({"type": "websocket.close", "code": POLICY})


class EventHub:
    """The WebSockets of one container.

    Any path of the container's own HTTP socket takes them: the gateway joins /ws/<its base> with
    it. Messages of clients are read and ignored.
    """

    def __init__(self, *, is_enabled: bool) -> None:
        self._is_enabled = is_enabled
        self._clients: set[_EventClient] = set()

    def dispatch(self, kind: str, message: str) -> None:
        """Send a frame to all clients; one that does not take its frames is cut off."""
        if not self._is_enabled:
            return
        if len(message) + len(kind) > EVENT_LIMIT:
            raise MicroserviceError("cannot dispatch event: more than 256 KiB")
        frame = json.dumps({"type": kind, "message": message}, ensure_ascii=False)
        for client in self._clients:
            client.add(frame)

    async def serve(self, receive: Receive, send: Send) -> None:
        """Serve one WebSocket until its client goes."""
        await receive()  # websocket.connect
        if not self._is_enabled:
            await send({"type": "websocket.close", "code": POLICY})  # before accept: status 403
            return
        await send({"type": "websocket.accept"})
        if len(self._clients) >= CLIENTS:
            await send({"type": "websocket.close", "code": TRY_AGAIN_LATER})
            return
        client = _EventClient()
        self._clients.add(client)
        sending = asyncio.ensure_future(client.send_all(send))
        reading = asyncio.ensure_future(_read_until_gone(receive))
        try:
            await asyncio.wait({sending, reading}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._clients.discard(client)
            for task in (sending, reading):
                task.cancel()
            await asyncio.gather(sending, reading, return_exceptions=True)


async def _read_until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "websocket.disconnect":
        pass
