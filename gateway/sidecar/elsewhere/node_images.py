"""Copies images from other nodes of the account: over the link if it can, else over the SEP.

The SEP carries small answers, so an archive comes in ranges there. All of them must be of one
archive (its ETag), and what they make is checked like every upload: digests, signature, room.
"""

import asyncio
import contextlib
import logging
import random
import re
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from gateway.backoff import delays
from gateway.cluster.cluster import Cluster
from gateway.errors import UplinkError, UplinkLost
from gateway.services import ServiceHost, ServicesError
from protocol.http_body import HttpRequest, HttpResponse
from protocol.records import NodeRecord

if TYPE_CHECKING:  # only a node with a cloud needs it in memory
    from gateway.calls.other_nodes import OtherNodes

logger = logging.getLogger(__name__)

PIECE_BYTES = 192 * 1024  # with its headers below the 256 KiB of the SEP
ATTEMPTS = 5  # for each piece
FIRST_WAIT_S, LONGEST_WAIT_S = 0.2, 5.0
LOCAL = "local"

_CONTENT_RANGE = re.compile(r"bytes (\d{1,12})-(\d{1,12})/(\d{1,12})")


class NodeImages:
    """Adds images of other nodes to this one; nodes is None without a cloud."""

    def __init__(self, cluster: Cluster, services: ServiceHost, nodes: "OtherNodes | None") -> None:
        self._cluster, self._services, self._nodes = cluster, services, nodes
        self._random = random.Random()  # noqa: S311  # spreads retries

    async def add(
        self, client_id: str, node_id: str, image_id: str, code: str, digest: str = ""
    ) -> dict[str, object]:
        """Store an image of another node; return it as the API shows it.

        With a digest it must be that one: nothing else proves an archive that came over plain HTTP.

        Raises:
            ServicesError: the node does not send it, or it cannot be used here.
            UplinkError: the node cannot be reached.
        """
        path = f"/mcm/v1/images/{image_id}/tarball?hmac={quote(code, safe='')}"
        record = await self._find(node_id)
        href = next((each.href for each in record.addresses if each.kind == LOCAL), "")
        if href:
            from gateway.services.images.pull import open_pull  # an HTTP client, seldom needed

            host = urlsplit(href).hostname or ""
            async with contextlib.AsyncExitStack() as stack:
                pull = open_pull(f"{href}{path}", (host,), self._services.upload_bytes)
                try:
                    archive = await stack.enter_async_context(pull)
                except ServicesError as exc:  # its network lets nobody in, or TLS does not fit
                    if self._nodes is None:
                        raise
                    logger.info("%s; trying the SEP", exc)
                else:
                    return await self._services.add_image(client_id, archive, digest)
        if self._nodes is None:
            raise UplinkError(
                f"cannot reach node {node_id[:12]}: no cluster and no cloud lead to it"
            )
        pieces = self._pieces(self._nodes, record, path)
        return await self._services.add_image(client_id, pieces, digest)

    async def _find(self, node_id: str) -> NodeRecord:
        for record in await self._cluster.records():
            if record.node_id == node_id:
                return record
        for record in await self._nodes.records() if self._nodes else ():
            if record.node_id == node_id:
                return record
        raise UplinkError(f"cannot find node {node_id[:12]}: not in this cluster or account")

    async def _pieces(
        self, nodes: "OtherNodes", record: NodeRecord, path: str
    ) -> AsyncIterator[bytes]:
        start, total, etag = 0, 1, ""
        while start < total:
            answer = await self._piece(nodes, record, path, start)
            headers = {name.lower(): value for name, value in answer.headers}
            match = _CONTENT_RANGE.fullmatch(headers.get("content-range", ""))
            if answer.status != 206 or match is None:
                raise UplinkError(
                    f"cannot pull image: node {record.node_id[:12]} answers with {answer.status}"
                )
            is_other = etag not in ("", headers.get("etag", ""))
            if int(match[1]) != start or not answer.body or is_other:
                raise UplinkLost(f"cannot pull image: node {record.node_id[:12]} has changed it")
            total, etag = int(match[3]), headers.get("etag", "")
            start += len(answer.body)
            yield answer.body

    async def _piece(
        self, nodes: "OtherNodes", record: NodeRecord, path: str, start: int
    ) -> HttpResponse:
        """Return the answer for one range, asked for again when it is lost."""
        wanted = ("range", f"bytes={start}-{start + PIECE_BYTES - 1}")
        request = HttpRequest("GET", path, (wanted,), b"")
        waits = delays(FIRST_WAIT_S, LONGEST_WAIT_S, self._random, least=0.5)
        for _ in range(ATTEMPTS - 1):
            with contextlib.suppress(UplinkLost):
                answer = await nodes.send(record, request)
                if answer.status < 500:
                    return answer
            await asyncio.sleep(next(waits))
        return await nodes.send(record, request)
