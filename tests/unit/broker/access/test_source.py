"""Checks the sources of identities, and their order."""

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from broker.access.callback import CallbackSource
from broker.access.certificates import CertificateSource, NameField, name_in
from broker.access.errors import AccessError
from broker.access.http_callback import HttpQuestion
from broker.access.passwords.hashes import ScryptCost, hash_password
from broker.access.passwords.password_file import PasswordFile
from broker.access.rights.rules import ANONYMOUS
from broker.access.source import AnonymousSource, Chain, Known, is_loopback
from broker.policy import Credentials, Identity, Refusal

CHEAP = ScryptCost(1, 1, 1)
BAD, NO, BUSY = Refusal.BAD_CREDENTIALS, Refusal.NOT_AUTHORIZED, Refusal.SERVER_BUSY


async def wait(answer: Known | Awaitable[Known]) -> Known:
    return await answer if isinstance(answer, Awaitable) else answer


def run(answer: Known | Awaitable[Known]) -> Known:
    return asyncio.run(wait(answer))


def client(
    username: str | None = None, password: bytes | None = None, peer: str = "127.0.0.1"
) -> Credentials:
    return Credentials("c1", username, password, "tcp", peer)


def line(user: str, password: bytes) -> str:
    return f"{user}:{hash_password(password, b'salt' * 4, CHEAP)}\n"


@pytest.fixture
def passwords(tmp_path: Path) -> PasswordFile:
    path = tmp_path / "passwords"
    path.write_text(line("anna", b"secret") + line("ben", b"other"))
    path.chmod(0o600)
    found = PasswordFile(path)
    found.take(found.read())
    return found


def test_name_and_password_must_both_be_right(passwords: PasswordFile) -> None:
    assert run(passwords.identify(client("anna", b"secret"))) == Identity("anna", "c1")
    for password in (b"other", b"", None, b"secret\n", b"Secret", b"secret\x00", b"x" * 2000):
        assert run(passwords.identify(client("anna", password))) is BAD
    for user in ("Anna", "", None, "carl", "anna:"):
        assert run(passwords.identify(client(user, b"secret"))) is None


def test_nobody_before_the_file_is_taken(tmp_path: Path) -> None:
    empty = PasswordFile(tmp_path / "none")
    assert run(empty.identify(client("anna", b""))) is None
    with pytest.raises(AccessError, match="no such file"):
        empty.read()


def test_a_malformed_file_changes_nothing(tmp_path: Path, passwords: PasswordFile) -> None:
    path = tmp_path / "passwords"
    path.write_text(line("carl", b"x") + "anna:\nben\n")
    with pytest.raises(AccessError, match=r"line 2: .*; line 3: "):
        passwords.read()
    assert isinstance(run(passwords.identify(client("anna", b"secret"))), Identity)
    assert run(passwords.identify(client("carl", b"x"))) is None


def test_an_empty_file_grants_nothing(
    tmp_path: Path, passwords: PasswordFile, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "passwords").write_text("")
    with caplog.at_level(logging.WARNING):
        assert passwords.take(passwords.read()) == {"anna", "ben"}
    assert "nobody can log in" in caplog.text
    assert run(passwords.identify(client("anna", b"secret"))) is None
    assert run(passwords.identify(client("anna", b""))) is None


def test_changed_passwords_disconnect_their_users(tmp_path: Path, passwords: PasswordFile) -> None:
    run(passwords.identify(client("anna", b"secret")))
    path = tmp_path / "passwords"
    path.write_text(line("anna", b"new") + line("ben", b"other") + line("carl", b"x"))
    assert passwords.take(passwords.read()) == {"anna"}
    assert run(passwords.identify(client("anna", b"secret"))) is BAD
    assert isinstance(run(passwords.identify(client("anna", b"new"))), Identity)


def test_what_was_right_is_not_checked_again(passwords: PasswordFile) -> None:
    for _ in range(5):
        assert isinstance(run(passwords.identify(client("anna", b"secret"))), Identity)
    assert passwords.checked == 1
    for _ in range(5):
        assert run(passwords.identify(client("anna", b"wrong"))) is BAD
    assert passwords.checked == 6
    assert "secret" not in repr(vars(passwords))


def test_an_unknown_name_costs_as_much_as_a_known_one(passwords: PasswordFile) -> None:
    run(passwords.identify(client("carl", b"x")))
    assert passwords.checked == 1


class Slow:
    """A hash whose check ends when told to."""

    def __init__(self, expected: int) -> None:
        self.go, self.full, self._expected = threading.Event(), threading.Event(), expected
        self.at_once = self.most = 0
        self._lock = threading.Lock()

    def is_of(self, password: bytes) -> bool:
        with self._lock:
            self.at_once += 1
            self.most = max(self.most, self.at_once)
            if self.most >= self._expected:
                self.full.set()
        self.go.wait(10)
        with self._lock:
            self.at_once -= 1
        return password == b"right"


def test_only_a_few_are_checked_at_once_and_only_some_wait() -> None:
    async def storm() -> list[Identity | Refusal | None]:
        waiting = [wait(source.identify(client("anna", b"right"))) for _ in range(10)]
        tasks = [asyncio.create_task(each) for each in waiting]
        await asyncio.to_thread(slow.full.wait, 10)
        slow.go.set()
        return await asyncio.gather(*tasks)

    source, slow = PasswordFile(Path("unused"), at_once=2, waiting=3), Slow(2)
    source.take({"anna": slow})
    outcomes = asyncio.run(storm())
    assert outcomes.count(BUSY) == 5
    assert outcomes.count(Identity("anna", "c1")) == 5
    assert slow.most == 2
    source.close()


def test_a_check_that_outlives_its_line_lets_nobody_in() -> None:
    async def race() -> Identity | Refusal | None:
        task = asyncio.create_task(wait(source.identify(client("anna", b"right"))))
        await asyncio.to_thread(slow.full.wait, 10)
        source.take({"anna": Slow(1)})
        slow.go.set()
        return await task

    source, slow = PasswordFile(Path("unused")), Slow(1)
    source.take({"anna": slow})
    assert run(race()) is BAD
    source.close()


def test_anonymous_clients_come_from_where_they_may() -> None:
    here, there = client(), client(peer="192.0.2.7")
    local, open_to_all = AnonymousSource(network=False), AnonymousSource(network=True)
    assert run(local.identify(here)) == Identity(ANONYMOUS, "c1")
    assert run(local.identify(there)) is NO
    assert run(open_to_all.identify(there)) == Identity(ANONYMOUS, "c1")
    for named in (client("anna"), client("anna", b"x"), client(None, b"x"), client("")):
        assert run(open_to_all.identify(named)) is None
    nameless = AnonymousSource(network=True, ignores_names=True)
    assert run(nameless.identify(client("anna", b"x"))) == Identity(ANONYMOUS, "c1")


@pytest.mark.parametrize(
    ("peer", "here"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("::ffff:127.0.0.1", True),
     ("", True), ("192.0.2.1", False), ("::ffff:192.0.2.1", False), ("fe80::1%eth0", False),
     ("127.0.0.1.example", False)],
)  # fmt: skip
def test_is_loopback(peer: str, here: bool) -> None:
    assert is_loopback(peer) is here


def test_nobody_waits_for_what_is_known(passwords: PasswordFile) -> None:
    asked = []

    async def ask(credentials: Credentials) -> Identity | Refusal | None:
        asked.append(credentials.username)
        return None

    chain = Chain([passwords, CallbackSource(ask), AnonymousSource(network=True)])
    run(chain.authenticate(client("anna", b"secret")))
    assert chain.authenticate(client("anna", b"secret")) == Identity("anna", "c1")
    assert chain.authenticate(client("anna")) is BAD
    assert not asked
    nameless = Chain([passwords, AnonymousSource(network=True)])
    assert nameless.authenticate(client()) == Identity(ANONYMOUS, "c1")


def test_the_first_that_knows_decides(passwords: PasswordFile) -> None:
    async def ask(credentials: Credentials) -> Identity | Refusal | None:
        names: dict[str, Identity | Refusal] = {
            "carl": Identity("carl", "c1"),
            "anna": Identity("other", "c1"),
            "bad": BAD,
        }
        return names.get(credentials.username or "")

    chain = Chain([passwords, CallbackSource(ask), AnonymousSource(network=True)])
    assert run(chain.authenticate(client("anna", b"secret"))) == Identity("anna", "c1")
    assert run(chain.authenticate(client("anna", b"wrong"))) is BAD
    assert run(chain.authenticate(client("carl", b"x"))) == Identity("carl", "c1")
    assert run(chain.authenticate(client("bad", b"x"))) is BAD
    assert run(chain.authenticate(client("who", b"x"))) is BAD
    assert run(chain.authenticate(client())) == Identity(ANONYMOUS, "c1")
    assert run(Chain([]).authenticate(client())) is NO
    assert run(Chain([]).authenticate(client("anna", b"x"))) is BAD


@pytest.mark.parametrize("name", [ANONYMOUS, ""])
def test_no_source_may_call_a_user_like_nobody(name: str) -> None:
    async def ask(_: Credentials) -> Identity | Refusal | None:
        return Identity(name, "c1")

    assert run(Chain([CallbackSource(ask)]).authenticate(client("x", b"y"))) is BAD


def test_a_callback_that_fails_or_sleeps_lets_nobody_in(caplog: pytest.LogCaptureFixture) -> None:
    async def fail(_: Credentials) -> Identity | Refusal | None:
        raise OSError("down")

    async def sleep(_: Credentials) -> Identity | Refusal | None:
        await asyncio.Event().wait()
        return None

    down = Refusal.SERVER_UNAVAILABLE
    assert run(CallbackSource(fail).identify(client("a", b"pass"))) is down
    assert run(CallbackSource(sleep, timeout_s=0).identify(client("a", b"pass"))) is down
    assert "pass" not in caplog.text


def test_a_callback_is_asked_a_bounded_number_of_times_at_once() -> None:
    async def storm() -> list[Identity | Refusal | None]:
        gate = asyncio.Event()

        async def wait(_: Credentials) -> Identity | Refusal | None:
            await gate.wait()
            return None

        source = CallbackSource(wait, at_once=2)
        tasks = [asyncio.create_task(source.identify(client("a"))) for _ in range(4)]
        await asyncio.sleep(0)
        gate.set()
        return await asyncio.gather(*tasks)

    assert sorted(map(str, asyncio.run(storm()))) == sorted([str(BUSY), str(BUSY), "None", "None"])


def over_http(answer: Callable[[httpx.Request], httpx.Response]) -> Identity | Refusal | None:
    async def ask() -> Identity | Refusal | None:
        async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as connection:
            question = HttpQuestion(connection, "http://auth/mqtt")
            return await CallbackSource(question).identify(client("anna", b"secret"))

    return run(ask())


def test_an_http_service_is_asked() -> None:
    asked: list[bytes] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.content)
        return httpx.Response(200, json={"user": "anna", "groups": ["x"]})

    assert over_http(answer) == Identity("anna", "c1", frozenset({"x"}))
    assert b'"password":"secret"' in asked[0].replace(b" ", b"")


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        (httpx.Response(403), BAD),
        (httpx.Response(404), None),
        (httpx.Response(500), Refusal.SERVER_UNAVAILABLE),
        (httpx.Response(302, headers={"location": "http://elsewhere"}), Refusal.SERVER_UNAVAILABLE),
        (httpx.Response(200, text="yes"), Refusal.SERVER_UNAVAILABLE),
        (httpx.Response(200, json={"user": 1}), Refusal.SERVER_UNAVAILABLE),
        (httpx.Response(200, json={"user": "a", "groups": [1]}), Refusal.SERVER_UNAVAILABLE),
    ],
)
def test_other_answers(response: httpx.Response, expected: Refusal | None) -> None:
    assert over_http(lambda _: response) is expected


NAMES = (
    ("commonName", "boiler"), ("DNS", "boiler.example"), ("URI", "spiffe://home/boiler"),
)  # fmt: skip


def test_names_in_certificates() -> None:
    assert name_in(NAMES, NameField.COMMON_NAME) == "boiler"
    assert name_in(NAMES, NameField.DNS) == "boiler.example"
    assert name_in(NAMES, NameField.URI) == "spiffe://home/boiler"
    assert name_in(NAMES, NameField.EMAIL) is None
    two = (("commonName", "a"), ("commonName", "b"))
    assert name_in(two, NameField.COMMON_NAME) is None
    for name in ("", "a\x00b"):
        assert name_in((("commonName", name),), NameField.COMMON_NAME) is None


def test_the_certificate_names_the_user_whatever_the_client_says() -> None:
    source = CertificateSource(NameField.COMMON_NAME)
    shown = replace(client("anna", b"x"), certificate=b"DER", certificate_names=NAMES)
    assert run(source.identify(shown)) == Identity("boiler", "c1")
    assert run(source.identify(replace(shown, certificate_names=()))) is BAD
    assert run(source.identify(client("boiler", b"x"))) is None
