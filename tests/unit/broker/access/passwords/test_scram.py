"""SCRAM-SHA-256: the example of RFC 7677, and what must not get in."""

import base64
import re

import pytest

from broker.access.passwords.hashes import SCRAM_GENERATED, keep_password, parse_hash
from broker.access.passwords.scram import Scram, ScramKeys, derive_keys, prepare
from broker.access.passwords.scram_users import ScramExchange, ScramUsers
from broker.policy import Accepted, Challenge, Credentials, Identity, Refusal, Step
from tests.scram import prove
from tests.unit.broker.rig import run

# RFC 7677, section 3
SALT = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
KEYS = derive_keys("pencil", SALT, 4096)
SERVER_NONCE = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
FIRST = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
CHALLENGE = (
    b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
)
FINAL = (
    b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
    b"p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
)
SIGNATURE = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="


def start() -> Scram:
    return Scram(SERVER_NONCE, lambda _user: KEYS)


def test_the_example_of_the_rfc() -> None:
    scram = start()
    assert not scram.has_begun
    assert scram.receive(FIRST) == CHALLENGE
    assert scram.user == "user"
    assert not scram.is_proven
    assert scram.receive(FINAL) == SIGNATURE
    assert scram.is_proven


@pytest.mark.parametrize(
    "first",
    [
        b"", b"n", b"n,,", b"n,,n=user", b"n,,n=,r=x", b"n,,r=x,n=user", b"x,,n=user,r=x",
        b"p=tls-unique,,n=user,r=x", b"n,,m=x,n=user,r=x", b"n,a=other,n=user,r=x",
        b"n,,n=us=er,r=x", b"n,,n=us=2cer,r=x", b"n,,n=\xff,r=x", b"n,,n=user,r=x y",
        b"n,,n=user,r=x\x00", b"n,,n=us\x07er,r=x", b"n,,n=" + b"u" * 3000 + b",r=x",
        b"n,,n=user,r=", b"n,,n=user,r=x,", "n,,n=user,r=\u00e9".encode(),
    ],
)  # fmt: skip
def test_first_messages_that_are_none(first: bytes) -> None:
    scram = start()
    assert scram.receive(first) == b""
    assert scram.failed
    assert scram.receive(FINAL) == b""
    assert not scram.is_proven


@pytest.mark.parametrize(
    ("first", "user"),
    [
        (b"y,,n=user,r=x", "user"),
        (b"n,a=user,n=user,r=x", "user"),
        (b"n,,n=a=2Cb=3D,r=x,e=more", "a,b="),
        ("n,,n=I\u00adX,r=x".encode(), "IX"),  # RFC 4013, section 3
        ("n,,n=\u2168,r=x".encode(), "IX"),
    ],
)
def test_first_messages(first: bytes, user: str) -> None:
    scram = start()
    assert scram.receive(first).startswith(b"r=x" + SERVER_NONCE.encode())
    assert scram.user == user


@pytest.mark.parametrize(
    "change",
    [
        (b"p=d", b"p=e"), (b"r=r", b"r=s"), (b"c=biws", b"c=eSws"), (b"k0,", b"k,"),
        (b"p=", b"q="), (b"VQ=", b"VQ"), (b"p=dHzb", b"p="), (b"p=d", b"p=\xff"),
        (b",p", b",x=1,p"),
    ],
)  # fmt: skip
def test_proofs_that_are_none(change: tuple[bytes, bytes]) -> None:
    scram = start()
    scram.receive(FIRST)
    assert scram.receive(FINAL.replace(*change)) == b""
    assert scram.failed
    assert not scram.is_proven
    assert scram.receive(FINAL) == b""
    assert not scram.is_proven


def test_names_and_passwords_are_prepared() -> None:
    # RFC 4013, section 3
    assert [prepare(each) for each in ("I\u00adX", "user", "USER", "\u00aa", "\u2168")] == [
        "IX", "user", "USER", "a", "IX",
    ]  # fmt: skip
    for forbidden in ("\x07", "\u0627\u0031"):
        with pytest.raises(ValueError, match="SASLprep"):
            prepare(forbidden)
    assert prepare("") == ""
    assert prepare("a\u00a0b") == "a b"


def test_keys_check_passwords_too_and_show_nothing() -> None:
    kept = keep_password("I\u00adX", SALT, SCRAM_GENERATED)
    assert kept.is_of(b"IX")
    assert kept.is_of("\u2168".encode())
    assert not kept.is_of(b"IY")
    assert not kept.is_of(b"\xff")
    assert not kept.is_of(b"\x07")
    assert parse_hash(str(kept)) == kept
    assert repr(kept) == "ScramKeys(4096, ***)"


@pytest.mark.parametrize(
    "line",
    [
        "$scram-sha-256$4095$SALT$KEY$KEY",
        "$scram-sha-256$9999999$SALT$KEY$KEY",
        "$scram-sha-256$00000041230000$SALT$KEY$KEY",
        "$scram-sha-256$x$SALT$KEY$KEY",
        "$scram-sha-256$4096$$KEY$KEY",
        "$scram-sha-256$4096$SALT$SALT$KEY",
        "$scram-sha-256$4096$SALT$KEY$-",
        "$scram-sha-256$4096$SALT$KEY",
    ],
)
def test_lines_that_are_no_good(line: str) -> None:
    good = "$scram-sha-256$4096$SALT$KEY$KEY"
    words = {"SALT": base64.b64encode(SALT).decode(), "KEY": base64.b64encode(bytes(32)).decode()}

    def fill(text: str) -> str:
        return re.sub("SALT|KEY", lambda found: words[found[0]], text)

    assert isinstance(parse_hash(fill(good)), ScramKeys)
    with pytest.raises(ValueError, match=r"iterations|salt|base64|kind"):
        parse_hash(fill(line))


# -- against the users of a file


def known() -> ScramUsers:
    users = ScramUsers()
    users.take({"user": KEYS, "plain": parse_hash("$6$" + "A" * 16 + "$" + "A" * 86 + "==")})
    return users


def exchange(users: ScramUsers, username: str | None = None) -> ScramExchange:
    return ScramExchange(users, Credentials("c", username, None, "tcp", ""))


def log_in(users: ScramUsers, user: str, password: str, username: str | None = None) -> Step:
    first = f"n,,n={user},r=abc".encode()
    tried = exchange(users, username)
    challenge = run(tried.step(first))
    if not isinstance(challenge, Challenge):
        return challenge
    assert challenge.data is not None
    return run(tried.step(prove(challenge.data, first, password)[0]))


@pytest.mark.parametrize("username", [None, "", "user"])
def test_a_user_gets_in_with_the_password(username: str | None) -> None:
    outcome = log_in(known(), "user", "pencil", username)
    assert isinstance(outcome, Accepted)
    assert outcome.identity == Identity("user", "c")
    assert outcome.data is not None
    assert outcome.data.startswith(b"v=")


@pytest.mark.parametrize(
    ("user", "password", "username"),
    [
        ("user", "pen", None),
        ("user", "pencil", "other"),
        ("nobody", "pencil", None),
        ("plain", "x", None),
    ],
)
def test_others_do_not(user: str, password: str, username: str | None) -> None:
    assert log_in(known(), user, password, username) is Refusal.NOT_AUTHORIZED


def test_unknown_users_look_like_known_ones() -> None:
    users = known()

    def ask(user: str) -> tuple[int, bytes, bytes]:
        challenge = run(exchange(users).step(f"n,,n={user},r=abc".encode()))
        assert isinstance(challenge, Challenge)
        assert challenge.data is not None
        nonce, salt, iterations = challenge.data.split(b",")
        return len(nonce), salt, iterations

    unknown, other, real = ask("nobody"), ask("noone"), ask("user")
    assert unknown == ask("nobody")  # the salt stays, as a real one does
    assert unknown[1] != other[1]
    assert (unknown[0], len(unknown[1]), unknown[2]) == (real[0], len(real[1]), real[2])
    users.take({"user": KEYS, "more": KEYS})
    assert unknown == ask("nobody")


def test_the_first_message_may_come_later() -> None:
    tried = exchange(known())
    assert run(tried.step(None)) == Challenge(None)
    challenge = run(tried.step(FIRST))
    assert isinstance(challenge, Challenge)
    assert challenge.data
    assert run(tried.step(None)) is Refusal.NOT_AUTHORIZED


def test_a_password_changed_meanwhile_is_not_let_in() -> None:
    users = known()
    tried = exchange(users)
    challenge = run(tried.step(FIRST))
    assert isinstance(challenge, Challenge)
    assert challenge.data
    users.take({"user": derive_keys("brush", SALT, 4096)})
    assert run(tried.step(prove(challenge.data, FIRST, "pencil")[0])) is Refusal.NOT_AUTHORIZED
