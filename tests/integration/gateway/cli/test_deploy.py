"""`hecate deploy`, `images` and `invoke` against a real gateway."""

import json
from pathlib import Path

import pytest

from tests.commands import Person
from tests.programs import until
from tests.system import Gateway
from tests.wheels import pip_environ, write_sdist, write_wheel


@pytest.fixture
def person(tmp_path: Path, lone: Gateway) -> Person:
    (tmp_path / "home").mkdir()
    person = Person(tmp_path / "home")
    add = ("context", "add", "lone", "--url", lone.url, "--state", str(lone.state), "--use")
    person.done(*add)
    return person


def write(person: Person, folder: Path, code: str = "") -> Path:
    person.done("new", str(folder))
    (folder / "service.py").write_text((folder / "service.py").read_text() + code)
    return folder


def test_the_packages_of_requirements_are_there_at_run_time(person: Person, tmp_path: Path) -> None:
    code = (
        "\n\n@service.get('/version')\nasync def version(_: Request) -> str:\n"
        "    import vendored\n    return vendored.VERSION\n"
    )
    folder = write(person, tmp_path / "uses", code)
    write_wheel(tmp_path / "index", "vendored", "7.1")
    (folder / "requirements.txt").write_text("vendored>=7\n")
    person.done("deploy", str(folder), **pip_environ(tmp_path / "index", person.home))
    assert person.done("invoke", "uses", "/version") == "7.1"
    person.done("rm", "uses", "uses-v1")


# case S25
def test_nothing_is_deployed_when_a_wheel_is_missing(
    person: Person, tmp_path: Path, lone: Gateway
) -> None:
    folder = write(person, tmp_path / "lacks")
    write_sdist(tmp_path / "index", "sourced")
    (folder / "requirements.txt").write_text("sourced\n")
    environ = pip_environ(tmp_path / "index", person.home)
    why = person.refused("deploy", str(folder), **environ)
    status = lone.status()["node"]
    assert "no wheel of sourced for cp" in why
    assert status["platform"].startswith("linux/")
    assert "pip wheel --no-deps 'sourced' -w" in why
    assert "lacks" not in person.done("ps")
    assert "lacks" not in person.done("images")


def test_an_image_is_built_here_and_deployed_there(person: Person, tmp_path: Path) -> None:
    folder = write(person, tmp_path / "shipped")
    image = tmp_path / "shipped.tar"
    built = json.loads(person.done("build", str(folder), "-o", str(image), "--json"))
    assert built["size"] == image.stat().st_size
    person.done("deploy", str(image), "--name", "there")
    assert json.loads(person.done("invoke", "there"))["service"] == "shipped"
    exported = tmp_path / "exported.tar"
    told = json.loads(person.done("images", "export", "shipped-v1", "-o", str(exported), "--json"))
    assert told["size"] == exported.stat().st_size
    assert not list(tmp_path.glob(".*.part"))
    person.done("deploy", str(exported), "--name", "there")
    person.done("rm", "there")
    image.write_bytes(image.read_bytes()[: built["size"] // 2])
    assert f"cannot deploy {image}: " in person.refused("deploy", str(image))
    person.done("images", "rm", "shipped-v1")


def test_what_does_not_start_shows_the_end_of_its_log(person: Person, tmp_path: Path) -> None:
    folder = write(person, tmp_path / "breaks", "\nprint('before')\n1 / 0\n")
    why = person.refused("deploy", str(folder))
    assert why.startswith("cannot start ")
    assert "ZeroDivisionError" in why.splitlines()[0]
    assert "the end of its log (`hecate logs breaks` has more):" in why
    assert "  before\n" in why
    assert "service.py" in why.partition("the end of its log")[2]
    person.done("rm", "breaks")


def test_images_are_listed_removed_and_pruned(person: Person, tmp_path: Path) -> None:
    folder = write(person, tmp_path / "pruned")
    person.done("deploy", str(folder))
    assert "cannot delete image" in person.refused("images", "rm", "pruned-v1")
    text = (folder / "microservice.toml").read_text()
    (folder / "microservice.toml").write_text(text.replace('version = "1"', 'version = "2"'))
    person.done("deploy", str(folder))
    listed = json.loads(person.done("images", "ls", "--json"))["data"]
    used = {row["name"]: row["usedBy"] for row in listed if row["name"].startswith("pruned")}
    assert used == {"pruned-v1": [], "pruned-v2": ["pruned"]}
    asked = person.hecate("images", "prune")
    assert (asked.code, "give --yes" in asked.err) == (2, True)
    assert "removed pruned-v1\n" in person.done("images", "prune", "--yes")
    assert "cannot find image pruned-v1; there are: " in person.refused("images", "rm", "pruned-v1")
    person.done("rm", "pruned", "pruned-v2")


def test_a_message_is_sent_and_its_handling_told(person: Person, tmp_path: Path) -> None:
    code = (
        "\n\n@service.on('devices/{device}/readings/bad')\n"
        "async def bad(message: Message) -> None:\n    raise ValueError('bad')\n"
    )
    write(person, tmp_path / "hears", code)
    person.done("deploy", str(tmp_path / "hears"))
    topic = "devices/k/readings/t"
    assert person.done("invoke", "hears", "--mqtt", topic, "21") == "hears handled it\n"
    told = person.done("invoke", "hears", "--mqtt", topic, "@-", "--json", given="22")
    assert json.loads(told)["outcome"] == "handled"
    why = person.refused("invoke", "hears", "--mqtt", "nobody/reads/this", "1")
    assert "nobody subscribes to nobody/reads/this; see its handlers and [mqtt] subscribe" in why
    assert person.hecate("invoke", "hears", "/x", "--mqtt", topic, "1").code == 2
    person.done("rm", "hears", "hears-v1")


def test_what_a_new_user_mistypes_is_told_with_what_to_do(person: Person, tmp_path: Path) -> None:
    folder = write(person, tmp_path / "typed")
    wrong = ("deploy", str(folder), "--url", "http://127.0.0.1:1")
    assert "no gateway answers at http://127.0.0.1:1; start one" in person.refused(
        *wrong, HECATE_API_KEY="x"
    )
    why = person.refused("deploy", str(folder), HECATE_API_KEY="wrong")
    assert "does not take this API key" in why
    why = person.refused("deploy", str(tmp_path / "none"))
    assert "no such folder; `hecate new NAME` makes one" in why


VALUES = """
[settings.limit]
type = "integer"
maximum = 99
description = "The reading from which it warns"

[settings.unit]
type = "string"
default = "celsius"

[secrets]
names = ["token"]
"""
SHOW = """

@service.get("/values")
async def values(_: Request) -> dict[str, object]:
    return {**service.settings, "token": len(service.secrets["token"])}
"""


# case S22
def test_settings_and_secrets_are_given_shown_and_changed(person: Person, tmp_path: Path) -> None:
    folder = write(person, tmp_path / "valued", SHOW)
    manifest = folder / "microservice.toml"
    manifest.write_text(manifest.read_text() + VALUES)
    (tmp_path / "token").write_text("s3cret\n")
    secret = f"token=@{tmp_path}/token"
    why = person.refused("deploy", str(folder), "--secret", secret)
    assert "setting limit has no value, and no default; `hecate deploy --set limit=" in why
    person.done("deploy", str(folder), "--set", "limit=30", "--secret", secret)

    def told() -> dict[str, object]:
        return dict(json.loads(person.done("invoke", "valued", "/values")))

    assert told() == {"limit": 30, "unit": "celsius", "token": 6}
    assert "(secret)" in person.done("settings", "valued")
    changed = json.loads(person.done("settings", "valued", "limit=31", "unit=kelvin", "--json"))
    assert changed == {
        "name": "valued", "settings": {"limit": 31, "unit": "kelvin"}, "secrets": ["token"],
    }  # fmt: skip
    until(lambda: told() == {"limit": 31, "unit": "kelvin", "token": 6}, "it takes them up")
    person.done("settings", "valued", "--unset", "unit", "--secret", "token=-", given="longer one")
    until(lambda: told() == {"limit": 31, "unit": "celsius", "token": 10}, "a new secret, too")
    assert "must be at most 99" in person.refused("settings", "valued", "limit=100")
    assert "not nonsense" in person.refused("settings", "valued", "nonsense=1")
    for command in (("settings", "valued", "--json"), ("ps", "--json"), ("logs", "valued")):
        assert "longer one" not in person.done(*command)
    person.done("rm", "valued", "valued-v1")


PICKY = """

@service.on("devices/{device}/readings/picky")
async def picky(message: Message) -> None:
    if message.payload != b"good":
        raise ValueError("I want good ones")
"""


# case S9
def test_dead_letters_are_listed_shown_retried_and_discarded(
    person: Person, tmp_path: Path
) -> None:
    folder = write(person, tmp_path / "picks", PICKY)
    manifest = folder / "microservice.toml"
    manifest.write_text(manifest.read_text() + "\n[retry]\ntries = 1\n")
    person.done("deploy", str(folder))
    for payload in ("bad", "worse"):
        sent = person.hecate("invoke", "picks", "--mqtt", "devices/k/readings/picky", payload)
        assert (sent.code, "its handler failed" in sent.out) == (1, True)

    def letters() -> list[dict[str, str]]:
        return list(json.loads(person.done("deadletters", "list", "picks", "--json"))["data"])

    until(lambda: len(letters()) == 2, "both are kept")
    first, second = (letter["id"] for letter in letters())
    table = person.done("deadletters", "list", "picks")
    assert "ValueError: I want good ones" in table
    assert table.index("\n" + second) < table.index("\n" + first)
    assert person.done("deadletters", "show", "picks", first) == "bad"
    assert "`hecate deadletters list picks` shows them" in person.refused(
        "deadletters", "show", "picks", "999"
    )
    assert "deadletters list picks" in person.done("ps")
    assert person.hecate("deadletters", "retry", "picks").code == 2
    assert person.done("deadletters", "retry", "picks", first) == f"retried {first}\n"
    until(lambda: len(letters()) == 2, "it fails again, and is kept again")
    code = (folder / "service.py").read_text().replace('!= b"good"', '== b"good"')
    (folder / "service.py").write_text(code)
    person.done("deploy", str(folder))
    person.done("deadletters", "retry", "picks", "--all")
    until(lambda: letters() == [], "the new code takes them")
    assert person.done("deadletters", "discard", "picks", "--all") == "discarded 0 dead letters\n"
    person.done("rm", "picks", "picks-v1")


def test_versions_are_listed_and_one_rolled_back(person: Person, tmp_path: Path) -> None:
    folder = write(person, tmp_path / "rolls")
    person.done("deploy", str(folder), "--env", "A=1")
    code = (folder / "service.py").read_text()
    (folder / "service.py").write_text(code.replace('"service": "rolls"', '"service": "second"'))
    person.done("deploy", str(folder), "--env", "A=2")
    assert json.loads(person.done("invoke", "rolls"))["service"] == "second"
    rows = json.loads(person.done("versions", "rolls", "--json"))["data"]
    numbers = {row["env"].get("A"): row["version"] for row in rows}
    assert "A=1" in person.done("versions", "rolls")
    told = person.done("rollback", "rolls")
    assert told.startswith("rolls runs rolls-v1, version ")
    assert json.loads(person.done("invoke", "rolls"))["service"] == "rolls"
    person.done("rollback", "rolls", "--to", str(numbers["2"]))
    assert json.loads(person.done("invoke", "rolls"))["service"] == "second"
    assert "cannot " in person.refused("rollback", "rolls", "--to", "99")
    person.done("rm", "rolls", "rolls-v1")


def test_a_gateway_takes_only_what_a_trusted_key_has_signed(person: Person, tmp_path: Path) -> None:
    folder, keys = write(person, tmp_path / "signed"), tmp_path / "keys"
    for name in ("release", "other"):
        person.done("keys", "signing", str(keys / name))
    environ = {
        "HECATE_GATEWAY_SERVICES_REQUIRE_SIGNATURE": "true",
        "HECATE_GATEWAY_SERVICES_TRUSTED_KEYS": (keys / "release.pub").read_text().strip(),
    }
    with Gateway(tmp_path / "state", **environ) as strict:
        there = ("--url", strict.url, "--state", str(strict.state))
        why = person.refused("deploy", str(folder), *there)
        assert "it is not signed" in why
        assert "`hecate build --sign KEY` signs it" in why
        why = person.refused("deploy", str(folder), "--sign", str(keys / "other"), *there)
        assert "none of [services] trusted_keys" in why
        assert "no microservices yet" in person.hecate("ps", *there).err
        person.done("deploy", str(folder), "--sign", str(keys / "release"), *there)
        image = tmp_path / "signed.tar"
        sign = ("--sign", str(keys / "release"))
        person.done("build", str(folder), "-o", str(image), *sign)
        person.done("deploy", str(image), *there)


def test_a_new_microservice_in_javascript_works_at_once(person: Person, tmp_path: Path) -> None:
    folder = tmp_path / "hook"
    person.done("new", str(folder), "--js")
    person.done("deploy", str(folder))
    topic = "devices/kitchen/readings/temperature"
    assert person.done("invoke", "hook", "--mqtt", topic, "21") == "hook handled it\n"
    answer = json.loads(person.done("invoke", "hook"))
    assert answer == {"service": "hook", "seen": {"kitchen": 1}}
    (folder / "index.js").write_text("mimikModule.exports = (c, request, response) => {\n  oops(\n")
    why = person.refused("deploy", str(folder))
    assert "index.js" in why
    person.done("rm", "hook", "hook-v1")


def test_a_gateway_without_a_cloud_has_no_other_nodes(person: Person, tmp_path: Path) -> None:
    why = person.refused("rollouts")
    assert "this gateway has no cloud, and so no other nodes; [cloud] url in gateway.toml" in why
    folder = write(person, tmp_path / "alone")
    assert person.refused("deploy", str(folder), "--all").startswith("cannot ")
    person.done("images", "rm", "alone-v1")
