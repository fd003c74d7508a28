"""Carries out the calls of a script that are answered later: HTTP, publishing, the edge."""

import asyncio
import codecs
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from microservice.errors import MicroserviceError, OutboundError, ServiceError
from microservice.info import Info
from microservice.javascript.header_rule import absolute_url, request_headers
from microservice.javascript.lean.frames import EVENT, data_of
from microservice.javascript.nodes import open_nodes
from microservice.javascript.storage import Uploads
from microservice.outbound import OutboundClient

PENDING = 64  # calls of one request at once
DATA_LIMIT_BYTES = 8 * 1024 * 1024  # of a request's body, and of an answer that is not a file
PIECE = 64 * 1024  # characters of an answer in one frame
CONNECT_S, READ_S = 5.0, 20.0
REQUEST_BEP = "requestBep"

Publish = Callable[[str, bytes, int, bool], Awaitable[None]]


class EventSink(Protocol):
    """Sends events to the child."""

    async def send(self, kind: str, value: Any) -> None:
        """Return when it has room for the next one."""


@dataclass(frozen=True, slots=True)
class CallTargets:
    """The parts that calls reach."""

    outbound: OutboundClient
    publish: Publish
    info: Info


class AsyncCalls:
    """The pending calls of one request."""

    def __init__(self, targets: CallTargets, sink: EventSink, uploads: Uploads) -> None:
        self._targets, self._sink, self._uploads = targets, sink, uploads
        self._tasks: set[asyncio.Task[None]] = set()
        self._data: dict[int, bytearray] = {}
        self._data_bytes = 0
        self._operations: dict[str, Callable[[dict[str, Any]], Awaitable[object]]] = {
            "http": self._http,
            "publish": self._publish,
            "edge.nodes": self._open_nodes,
            "edge.bep": self._request_bep,
        }

    def begin(self, operation: str, frame: dict[str, Any]) -> None:
        """Begin a call; its events go to the child."""
        if operation == "http.data":
            self._add_data(frame)
            return
        if len(self._tasks) >= PENDING:
            raise ServiceError(f"cannot begin {operation}: {PENDING} calls are pending")
        task = asyncio.create_task(self._run(self._operations[operation], frame))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """End all calls."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _run(
        self, operation: Callable[[dict[str, Any]], Awaitable[object]], frame: dict[str, Any]
    ) -> None:
        call_id = frame["id"]
        try:
            value = await operation(frame)
        except OutboundError as exc:
            event = {"id": call_id, "error": str(exc), "status": exc.status}
        except (MicroserviceError, ValueError, KeyError, TypeError) as exc:
            event = {"id": call_id, "error": str(exc)}
        else:
            event = {"id": call_id, "end": True, "value": value}
        await self._sink.send(EVENT, event)

    def _add_data(self, frame: dict[str, Any]) -> None:
        data = data_of(frame)
        self._data_bytes += len(data)
        if self._data_bytes > DATA_LIMIT_BYTES:
            raise ServiceError(f"cannot send more than {DATA_LIMIT_BYTES} bytes by one request")
        self._data.setdefault(int(frame["id"]), bytearray()).extend(data)

    async def _http(self, frame: dict[str, Any]) -> None:
        call_id = frame["id"]
        body = bytes(self._data.pop(call_id, b""))
        self._data_bytes -= len(body)
        headers = request_headers(
            frame["headers"], frame["authorization"], has_data=frame["hasData"]
        )
        async with self._targets.outbound.request(
            frame["method"],
            absolute_url(frame["url"]),
            headers=headers,
            body=body,
            connect_timeout=frame["connectMs"] / 1000 or CONNECT_S,
            read_timeout=frame["socketMs"] / 1000 or READ_S,
        ) as response:
            head = {"status": response.status, "headers": dict(response.headers)}
            await self._sink.send(EVENT, {"id": call_id, "head": head})
            name = frame["outputFile"]
            if name and 200 <= response.status < 300:
                upload = await self._uploads.begin(name)
                async for chunk in response:
                    await self._uploads.add(upload, chunk)
                await self._uploads.commit(name)
                return
            decoder = codecs.getincrementaldecoder("utf-8")("replace")
            size = 0
            async for chunk in response:
                size += len(chunk)
                if size > DATA_LIMIT_BYTES and not frame["isStream"]:
                    raise OutboundError(
                        f"cannot read answer: more than {DATA_LIMIT_BYTES} bytes; "
                        "use outputFile or mode: 'stream'"
                    )
                await self._send_text(call_id, decoder.decode(chunk))
            await self._send_text(call_id, decoder.decode(b"", final=True))

    async def _send_text(self, call_id: int, text: str) -> None:
        for at in range(0, len(text), PIECE):
            await self._sink.send(EVENT, {"id": call_id, "text": text[at : at + PIECE]})

    async def _publish(self, frame: dict[str, Any]) -> None:
        if frame["qos"] not in (0, 1):
            raise ServiceError(f"cannot publish to {frame['topic']}: qos is not 0 or 1")
        await self._targets.publish(
            frame["topic"], data_of(frame), frame["qos"], bool(frame["retain"])
        )

    async def _open_nodes(self, frame: dict[str, Any]) -> dict[str, str]:
        return {"data": open_nodes(frame["type"], frame["data"], self._targets.info.account_id)}

    async def _request_bep(self, frame: dict[str, Any]) -> dict[str, str]:
        """Ask the gateway for a BEP to this container; it checks the code of the visitor."""
        call = {
            "jsonrpc": "2.0", "id": 1, "method": REQUEST_BEP,
            "params": [frame["code"], self._targets.info.api_root],
        }  # fmt: skip
        async with self._targets.outbound.request(
            "POST", "/jsonrpc/v1", headers={"content-type": "application/json"},
            body=json.dumps(call).encode(),
        ) as response:  # fmt: skip
            answer = await response.json()
        if "result" not in answer:
            why = answer.get("error", {}).get("message") or answer.get("detail", "no result")
            raise ServiceError(str(why))
        return {"data": answer["result"]["href"]}
