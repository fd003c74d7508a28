import asyncio

from gateway.services.keyed_locks import KeyedLocks


def test_those_of_one_key_take_turns_and_no_key_is_remembered() -> None:
    async def run() -> None:
        locks, seen, inside = KeyedLocks(), [], set()

        async def use(key: str, number: int) -> None:
            async with locks.hold(key):
                assert key not in inside
                inside.add(key)
                await asyncio.sleep(0)
                inside.discard(key)
                seen.append((key, number))

        await asyncio.gather(*(use(key, n) for n in range(20) for key in "ab"))
        assert [n for key, n in seen if key == "a"] == list(range(20))
        waiting = [asyncio.create_task(use("c", n)) for n in range(3)]
        await asyncio.sleep(0)
        waiting[1].cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        assert len(locks) == 0

    asyncio.run(run())
