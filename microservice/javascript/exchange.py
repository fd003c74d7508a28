"""Carries one request to a child and its answer back, and carries out what the child asks for."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from microservice.errors import MicroserviceError, ServiceError, StoreError
from microservice.javascript.calls import AsyncCalls
from microservice.javascript.digests import DIGEST, answer_digest
from microservice.javascript.events import EventHub
from microservice.javascript.faults import ERROR, GOING_ON, TIME, Ceilings, Fault, fault_of_end
from microservice.javascript.forms import FormReader
from microservice.javascript.lean.frames import ANSWER, ASK, REQUEST, data_of
from microservice.javascript.processes import END_S, EvaluatorProcess, FrameStream
from microservice.javascript.storage import Storage, Uploads
from microservice.web import Send, problem

logger = logging.getLogger(__name__)
console = logging.getLogger("index.js")

# raised by reading a frame whose fields have other types than they should
MALFORMED = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError)
OVERTIME_S = 1.0  # beyond the limit and the child's own backstop; then the front ends the child
RESPONSE_LIMIT_BYTES = 32 * 1024 * 1024  # written by a script; files have no limit
PIECE_BYTES = 64 * 1024
STATUSES = range(200, 600)
BODILESS = (204, 304)  # RFC 9110, 15.3.5 and 15.4.5
_LEVELS = {"debug": logging.DEBUG, "warning": logging.WARNING, "error": logging.ERROR}
_FRAMING = frozenset({"connection", "content-length", "transfer-encoding", "keep-alive", "upgrade"})


@dataclass(frozen=True, slots=True)
class ScriptRequest:
    """A request as the script gets it."""

    method: str
    url: str  # below the base, with the query
    headers: dict[str, str] = field(default_factory=dict)
    body: str | None = None
    source: AsyncIterator[bytes] | None = None  # of a body that is not passed as a text

    @property
    def name(self) -> str:
        """The request, for the log; its query may hold secrets."""
        return f"{self.method} {self.url.partition('?')[0]:.200}"


@dataclass(frozen=True, slots=True)
class RuntimeParts:
    """The parts that all requests of a container share."""

    evaluator: EvaluatorProcess
    storage: Storage
    events: EventHub
    make_calls: Callable[[FrameStream, Uploads], AsyncCalls]
    ceilings: Ceilings
    values: Callable[[], dict[str, Any]]  # settings and secrets, as they are now


class ScriptExchange:
    """One request; send() is that of ASGI."""

    def __init__(self, request: ScriptRequest, parts: RuntimeParts, send: Send) -> None:
        self._request, self._parts, self._send = request, parts, send
        self.faults: list[Fault] = []
        self.status = 0  # of the answer; 0: none yet
        self._is_ended = False
        self._written = 0
        self._form: FormReader | None = None
        self._locks: dict[str, asyncio.Lock] = {}
        self._actions = {
            "head": self._head, "body": self._body, "answer": self._answer, "end": self._end,
            "log": self._log, "fault": self._fault, "event": self._event, "unlock": self._unlock,
        }  # fmt: skip

    @property
    def is_answered(self) -> bool:
        """True once the answer is complete; the script may go on."""
        return self._is_ended

    async def run(self) -> None:
        """Answer the request; with 500 and a reason when the script does not."""
        status = 0
        try:
            async with self._parts.evaluator.fork() as stream:
                status = await self._converse(stream)
        except (ServiceError, OSError) as exc:
            self.faults.append(Fault(ERROR, str(exc)))
        finally:
            for lock in self._locks.values():
                lock.release()
        if not self._is_ended:
            if not any(one.kind not in GOING_ON for one in self.faults):
                self.faults.append(fault_of_end(status))
            await self._give_up()

    async def _converse(self, stream: FrameStream) -> int:
        """Exchange frames until the child has ended; return its status."""
        uploads = Uploads(self._parts.storage)
        calls = self._parts.make_calls(stream, uploads)
        self._uploads, self._calls = uploads, calls
        try:
            async with asyncio.timeout(self._parts.ceilings.limit_s + OVERTIME_S):
                fields: dict[str, Any] = {
                    "method": self._request.method, "url": self._request.url,
                    "headers": self._request.headers, "body": self._request.body,
                }  # fmt: skip
                if self._request.body is None:
                    del fields["body"]
                fields |= self._parts.values()
                await stream.send(REQUEST, fields)
                while (text := await stream.read()) is not None:
                    await self._handle(text, stream)
            stream.close()
            await asyncio.wait({stream.ended}, timeout=END_S)
        except TimeoutError:
            self.faults.append(Fault(TIME))
        finally:
            await calls.close()
            await uploads.close()
        return stream.ended.result() if stream.ended.done() else 0

    async def _handle(self, text: str, stream: FrameStream) -> None:
        try:
            frame = json.loads(text[1:])
            operation: str = frame["op"]
            if text[0] == ASK:
                await stream.send(ANSWER, await self._reply(operation, frame))
            elif operation in self._actions:
                await self._actions[operation](frame)
            else:
                self._calls.begin(operation, frame)
        except MALFORMED as exc:
            raise ServiceError(f"cannot read a frame of index.js: {exc!r:.200}") from exc

    # The answer -----------------------------------------------------------------------------------

    async def _head(self, frame: dict[str, Any], length: int | None = None) -> None:
        if self.status:
            raise ServiceError("cannot answer twice")
        if frame["status"] not in STATUSES:
            raise ValueError("no status of an answer")
        headers = [
            (str(name).encode("latin-1"), str(value).encode("latin-1"))
            for name, value in frame["headers"]
            if str(name).lower() not in _FRAMING
        ]
        if length is not None:
            headers.append((b"content-length", str(length).encode()))
        self.status = frame["status"]
        start = {"type": "http.response.start", "status": self.status, "headers": headers}
        await self._send(start)

    def _check_begun(self) -> None:
        if not self.status or self._is_ended:
            raise ServiceError("cannot read a frame of index.js: it belongs to no answer")

    async def _body(self, frame: dict[str, Any]) -> None:
        self._check_begun()
        data = data_of(frame)
        if self.status in BODILESS:
            return
        self._written += len(data)
        if self._written > RESPONSE_LIMIT_BYTES:
            raise ServiceError(f"cannot answer with more than {RESPONSE_LIMIT_BYTES} bytes")
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def _answer(self, frame: dict[str, Any]) -> None:
        data = data_of(frame) if frame["status"] not in BODILESS else b""
        await self._head(frame, None if frame["status"] in BODILESS else len(data))
        self._is_ended = True
        await self._send({"type": "http.response.body", "body": data})

    async def _end(self, _frame: dict[str, Any]) -> None:
        self._check_begun()
        self._is_ended = True
        await self._send({"type": "http.response.body", "body": b""})

    async def _send_file(self, frame: dict[str, Any]) -> dict[str, Any]:
        storage = self._parts.storage
        size = await storage.run(lambda: storage.files.size(frame["path"]))
        path = storage.files.path(frame["path"])
        source = await storage.run(lambda: path.open("rb"))
        try:
            await self._head(frame, size)
            left = size
            while left > 0:
                data = await storage.run(partial(source.read, min(left, PIECE_BYTES)))
                if not data:
                    raise ServiceError(f"cannot send {frame['path']!r:.80}: it became shorter")
                left -= len(data)
                await self._send({"type": "http.response.body", "body": data, "more_body": True})
            self._is_ended = True
            await self._send({"type": "http.response.body", "body": b""})
        finally:
            source.close()
        return {}

    async def _give_up(self) -> None:
        """Answer with 500, or cut off the answer that has begun; log the reason."""
        fatal = [one for one in self.faults if one.kind not in GOING_ON]
        first = self.faults[0]
        # an error that nobody caught is the reason when nothing was pending afterwards
        reason = first if fatal[0].kind == "unanswered" else fatal[0]
        ceilings = self._parts.ceilings
        if reason in fatal:
            log_fault(f"cannot answer {self._request.name}", reason, ceilings)
        if self.status:
            return  # the server closes a connection whose answer is not complete
        response = problem(500, f"cannot answer: {reason.answer(ceilings)}")
        self.status = response.status
        headers = [(name.encode(), value.encode()) for name, value in response.headers.items()]
        await self._send({"type": "http.response.start", "status": 500, "headers": headers})
        await self._send({"type": "http.response.body", "body": response.body})

    # Calls of the script -------------------------------------------------------------------------

    async def _log(self, frame: dict[str, Any]) -> None:
        console.log(_LEVELS.get(frame["level"], logging.INFO), "%s", indented(str(frame["text"])))

    async def _fault(self, frame: dict[str, Any]) -> None:
        fault = Fault(str(frame["kind"]), str(frame["text"]))
        self.faults.append(fault)
        if fault.kind in GOING_ON or self._is_ended:
            log_fault(f"while answering {self._request.name}", fault, self._parts.ceilings)

    async def _event(self, frame: dict[str, Any]) -> None:
        try:
            self._parts.events.dispatch(str(frame["type"]), str(frame["message"]))
        except MicroserviceError as exc:
            console.error("%s", exc)

    async def _unlock(self, frame: dict[str, Any]) -> None:
        lock = self._locks.pop(frame["name"], None)
        if lock is not None:
            lock.release()

    async def _reply(self, operation: str, frame: dict[str, Any]) -> dict[str, Any]:
        """Return the answer to what the script waits for; {"error"} when it cannot be done."""
        replies: dict[str, Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]] = {
            "storage.write": self._uploads.write, "file": self._send_file, "lock": self._lock,
            "form.next": self._next_part, "form.piece": self._read_part,
            "form.store": self._store_part, "form.abort": self._abort_form,
            DIGEST: answer_digest,
        }  # fmt: skip
        if self._parts.storage.knows(operation):
            replies[operation] = self._parts.storage.answer
        try:
            return await replies[operation](frame)
        except (StoreError, ServiceError) as exc:
            return {"error": str(exc)}
        except OSError as exc:
            return {"error": f"cannot use the storage: {exc.strerror or exc}"}

    async def _lock(self, frame: dict[str, Any]) -> dict[str, Any]:
        name: str = frame["name"]
        if name in self._locks:
            raise StoreError(f"cannot lock {name!r:.40}: this request holds it already")
        lock = self._parts.storage.lock(name)
        await lock.acquire()
        self._locks[name] = lock
        return {}

    async def _next_part(self, _frame: dict[str, Any]) -> dict[str, Any]:
        if self._form is None:
            source = self._request.source or _nothing()
            self._form = FormReader(self._request.headers.get("content-type", ""), source)
        part = await self._form.next_part()
        if part is None:
            return {}
        return {"key": part[0]} | ({"filename": part[1]} if part[1] is not None else {})

    async def _read_part(self, _frame: dict[str, Any]) -> dict[str, Any]:
        if self._form is None:
            return {"text": ""}
        return {"text": await self._form.read_text()}

    async def _store_part(self, frame: dict[str, Any]) -> dict[str, Any]:
        if self._form is None:
            raise StoreError("cannot store a part: there is none")
        upload = await self._uploads.begin(frame["path"])
        while data := await self._form.read():
            await self._uploads.add(upload, data)
        return {"size": await self._uploads.commit(frame["path"])}

    async def _abort_form(self, _frame: dict[str, Any]) -> dict[str, Any]:
        self._form = FormReader("", _nothing())
        return {}


def log_fault(what: str, fault: Fault, ceilings: Ceilings) -> None:
    """Write a fault, with the script's own lines of its stack."""
    stack = fault.stack()
    console.error("%s: %s%s", what, indented(fault.reason(ceilings)), f"\n{stack}" if stack else "")


def indented(text: str) -> str:
    """Return a text whose further lines cannot be taken for lines of the log."""
    return text.replace("\r", "").replace("\n", "\n    ")


async def _nothing() -> AsyncIterator[bytes]:
    return
    yield b""
