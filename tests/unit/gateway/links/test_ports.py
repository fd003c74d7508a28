import asyncio

import pytest

from gateway.links.ports import INBOX_BYTES, ChunkInbox, LinkClosedError


def test_an_inbox_is_bounded_in_bytes() -> None:
    async def work() -> None:
        inbox = ChunkInbox()
        for _ in range(1000):
            inbox.put(bytes(100))
        assert inbox.dropped == 1000 - INBOX_BYTES // 100
        assert await inbox.get() == bytes(100)
        inbox.put(b"room again")
        assert inbox.dropped == 1000 - INBOX_BYTES // 100

    asyncio.run(work())


def test_what_came_before_the_end_is_read_first() -> None:
    async def work() -> None:
        inbox = ChunkInbox()
        inbox.put(b"last words")
        inbox.close("unplugged")
        inbox.close("another reason")
        inbox.put(b"too late")
        assert await inbox.get() == b"last words"
        with pytest.raises(LinkClosedError, match=r"^unplugged$"):
            await inbox.get()

    asyncio.run(work())


def test_a_reader_that_was_cancelled_loses_nothing() -> None:
    async def work() -> None:
        inbox = ChunkInbox()
        reader = asyncio.create_task(inbox.get())
        await asyncio.sleep(0)
        inbox.put(b"chunk")
        reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)
        assert await inbox.get() == b"chunk"

    asyncio.run(work())
