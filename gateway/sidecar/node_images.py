"""Copies images from other nodes of the account: over the link if it can, else over the SEP.

The SEP carries small answers, so an archive comes in ranges there. All of them must be of one
archive (its ETag), and what they make is checked like every upload: digests, signature, room.
"""

import contextlib
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from urllib.parse import quote, urlsplit

from gateway.cluster.members import Cluster
from gateway.errors import UplinkError, UplinkLost
from gateway.services import ServiceHost, ServicesError

logger = logging.getLogger(__name__)

PIECE_BYTES = 192 * 1024  # with its headers below the 256 KiB of the SEP
LOCAL = "local"

# node id, path, headers -> status, headers with names in lower case, body
ReadSep = Callable[[str, str, Mapping[str, str]], Awaitable[tuple[int, Mapping[str, str], bytes]]]

_CONTENT_RANGE = re.compile(r"bytes (\d{1,12})-(\d{1,12})/(\d{1,12})")


class NodeImages:
    """Adds images of other nodes to this one; read_sep is None without a cloud."""

    def __init__(self, cluster: Cluster, services: ServiceHost, read_sep: ReadSep | None) -> None:
        self._cluster, self._services, self._read_sep = cluster, services, read_sep

    async def add(
        self, client_id: str, node_id: str, image_id: str, code: str
    ) -> dict[str, object]:
        """Store an image of another node; return it as the API shows it.

        Raises:
            ServicesError: the node does not send it, or it cannot be used here.
            UplinkError: the node cannot be reached.
        """
        path = f"/mcm/v1/images/{image_id}/tarball?hmac={quote(code, safe='')}"
        href = self._local_href(node_id)
        if href:
            from gateway.services.images.pull import open_pull  # an HTTP client, seldom needed

            host = urlsplit(href).hostname or ""
            async with contextlib.AsyncExitStack() as stack:
                pull = open_pull(f"{href}{path}", (host,), self._services.upload_bytes)
                try:
                    archive = await stack.enter_async_context(pull)
                except ServicesError as exc:  # its network lets nobody in, or TLS does not fit
                    if self._read_sep is None:
                        raise
                    logger.info("%s; trying the SEP", exc)
                else:
                    return await self._services.add_image(client_id, archive)
        if self._read_sep is None:
            raise UplinkError(
                f"cannot reach node {node_id[:12]}: not in this cluster, and there is no cloud"
            )
        return await self._services.add_image(
            client_id, self._pieces(self._read_sep, node_id, path)
        )

    def _local_href(self, node_id: str) -> str:
        for record in self._cluster.records():
            if record.node_id == node_id:
                found = (each.href for each in record.addresses if each.kind == LOCAL)
                return next(found, "")
        return ""

    async def _pieces(self, read: ReadSep, node_id: str, path: str) -> AsyncIterator[bytes]:
        start, total, etag = 0, 1, ""
        while start < total:
            wanted = {"range": f"bytes={start}-{start + PIECE_BYTES - 1}"}
            status, headers, body = await read(node_id, path, wanted)
            match = _CONTENT_RANGE.fullmatch(headers.get("content-range", ""))
            if status != 206 or match is None:
                raise UplinkError(f"cannot pull image: node {node_id[:12]} answers with {status}")
            total, same = int(match[3]), etag in ("", headers.get("etag", ""))
            if int(match[1]) != start or not body or not same:
                raise UplinkLost(f"cannot pull image: node {node_id[:12]} has changed it meanwhile")
            etag = headers.get("etag", "")
            start += len(body)
            yield body
