"""The settings and secrets of containers, on disk and in memory."""

import asyncio
from pathlib import Path

import pytest

from gateway.services.configuration.values import NO_VALUES, ValueStore, merge, read_values
from gateway.services.errors import ServicesError, StorageError
from gateway.services.images.manifest import parse_manifest
from settings.secret import Secret

DECLARED = parse_manifest(
    'name = "probe"\n[settings.limit]\ntype = "number"\ndefault = 30\n'
    '[settings.place]\ntype = "string"\n[secrets]\nnames = ["key", "other"]\n'
).declared
SECRET = "hunter2-hunter2"


def test_values_survive_the_gateway_and_are_for_its_user_only(tmp_path: Path) -> None:
    async def run() -> None:
        store = ValueStore(tmp_path)
        given = {"settings": {"limit": 5}, "secrets": {"key": SECRET}}
        assert store.differ("api-x", DECLARED, given)
        async with store.changed("api-x", DECLARED, given):
            pass
        assert not store.differ("api-x", DECLARED, given)
        assert not store.differ("api-x", DECLARED, {})
        again = ValueStore(tmp_path)
        assert again.get("api-x") == NO_VALUES
        await again.load("api-x")
        assert again.get("api-x").settings == {"limit": 5}
        assert again.get("api-x").secrets == {"key": Secret(SECRET)}
        async with again.changed("api-x", DECLARED, {"settings": {"limit": None}}):
            pass
        assert read_values(tmp_path / "api-x").settings == {}
        assert (tmp_path / "api-x/values.json").stat().st_mode & 0o777 == 0o600
        assert SECRET not in repr(again.get("api-x"))

    asyncio.run(run())


def test_a_failed_deployment_leaves_the_values_before_it(tmp_path: Path) -> None:
    async def run() -> None:
        store = ValueStore(tmp_path)
        async with store.changed("api-x", DECLARED, {"settings": {"limit": 5}}):
            pass
        before = store.get("api-x")

        async def fail(*, keep: bool) -> None:
            async with store.changed("api-x", DECLARED, {"settings": {"limit": 6}}, keep=keep):
                assert store.get("api-x").settings["limit"] == 6
                raise ServicesError("it does not start")

        with pytest.raises(ServicesError, match="does not start"):
            await fail(keep=False)
        assert store.get("api-x") == before == read_values(tmp_path / "api-x")
        with pytest.raises(ServicesError, match="does not start"):
            await fail(keep=True)
        assert read_values(tmp_path / "api-x").settings == {"limit": 6}

    asyncio.run(run())


def test_what_is_not_declared_or_does_not_fit_is_refused_without_the_secret() -> None:
    for given, why in (
        ({"settings": {"limits": 1}}, "microservice.toml declares limit, place, not limits"),
        ({"secrets": {"kye": SECRET}}, "microservice.toml declares key, other, not kye"),
        ({"settings": {"limit": "warm"}}, "setting limit must be a number"),
        ({"secrets": {"key": [SECRET]}}, "cannot use secret key: must be a text"),
        ({"secrets": {"key": SECRET * 1000}}, "cannot use secret key: must be a text"),
    ):
        with pytest.raises(ServicesError, match=why) as refused:
            merge(NO_VALUES, DECLARED, given)
        assert SECRET not in str(refused.value)


def test_every_setting_needs_a_value_at_a_deployment(tmp_path: Path) -> None:
    store = ValueStore(tmp_path)
    with pytest.raises(ServicesError, match="setting place has no value"):
        store.check("api-x", DECLARED, {})
    store.check("api-x", DECLARED, {"settings": {"place": "attic"}})


def test_a_setting_of_an_older_version_does_no_harm() -> None:
    older = merge(NO_VALUES, DECLARED, {"settings": {"limit": 5, "place": "attic"}})
    newer = parse_manifest('name = "probe"\n[settings.limit]\ntype = "number"\n').declared
    assert merge(older, newer, {"settings": {"limit": 6}}).settings == {
        "limit": 6, "place": "attic",
    }  # fmt: skip


def test_damaged_values_are_named(tmp_path: Path) -> None:
    (tmp_path / "values.json").write_bytes(b"")
    with pytest.raises(ServicesError, match=r"values\.json: .*deploy the container again"):
        read_values(tmp_path)
    for content in (b"[]", b'{"version": 2, "settings": {}, "secrets": {}}', b'{"version": 1}'):
        (tmp_path / "values.json").write_bytes(content)
        with pytest.raises(ServicesError, match="cannot read"):
            read_values(tmp_path)


def test_a_full_disk_is_said(tmp_path: Path) -> None:
    async def run() -> None:
        (tmp_path / "api-x").write_text("a file where the folder should be")
        store = ValueStore(tmp_path)
        with pytest.raises(StorageError, match="cannot store settings"):
            async with store.changed("api-x", DECLARED, {"settings": {"limit": 5}}):
                pass
        assert store.get("api-x") == NO_VALUES

    asyncio.run(run())
