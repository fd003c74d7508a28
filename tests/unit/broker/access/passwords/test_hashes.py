"""Password lines: what is read, what is refused, and whose password is right."""

import hashlib
from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.access.passwords.hashes import (
    CHOSEN,
    GENERATED,
    Pbkdf2,
    Scrypt,
    ScryptCost,
    Sha512,
    hash_password,
    parse_hash,
    parse_passwords,
)

CHEAP = ScryptCost(1, 1, 1)
SALT = b"0123456789abcdef"
GOOD = f"anna:{hash_password(b'secret', SALT, CHEAP)}"


def b64(value: bytes) -> str:
    return b64encode(value).decode()


def test_what_is_written_is_read() -> None:
    kept = hash_password(b"secret", SALT, CHEAP)
    assert parse_hash(str(kept)) == kept
    assert kept.is_of(b"secret")
    assert not kept.is_of(b"Secret")
    assert not kept.is_of(b"")
    assert str(kept).startswith("$scrypt$ln=1,r=1,p=1$MDEyMzQ1Njc4OWFiY2RlZg$")


def test_the_chosen_costs() -> None:
    assert CHOSEN.memory_bytes == 16 * 1024 * 1024
    assert hash_password(b"x", SALT).cost == CHOSEN
    assert hash_password(b"x", SALT, GENERATED).is_of(b"x")


def test_scrypt_is_that_of_rfc_7914() -> None:
    # section 12: scrypt("password", "NaCl", 1024, 8, 16, 64), of which we keep 32 bytes
    kept = hash_password(b"password", b"NaCl", ScryptCost(10, 8, 16))
    assert kept.digest.hex() == "fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b373162"


def test_those_of_mosquitto_are_read() -> None:
    seven = hashlib.pbkdf2_hmac("sha512", b"secret", SALT, 101)
    kept = parse_hash(f"$7$101${b64(SALT)}${b64(seven)}")
    assert isinstance(kept, Pbkdf2)
    assert kept.is_of(b"secret")
    assert not kept.is_of(b"wrong")
    six = hashlib.sha512(b"secret" + SALT).digest()
    kept = parse_hash(f"$6${b64(SALT)}${b64(six)}")
    assert isinstance(kept, Sha512)
    assert kept.is_of(b"secret")
    assert not kept.is_of(b"wrong")


def test_an_empty_file_has_no_users() -> None:
    assert parse_passwords("") == ({}, [])
    assert parse_passwords("\n# nobody\n\n") == ({}, [])


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("anna", "USER:HASH"),
        ("anna:", "not of a known kind"),  # CVE-2018-12551
        (":", "no name of a user"),
        (":$6$x$y", "no name of a user"),
        ("anna:secret", "not of a known kind"),
        ("anna:$", "not of a known kind"),
        ("anna:$6$", "not of a known kind"),
        ("anna:$6$$", "is 0 bytes"),
        ("anna:$7$101$$", "is 0 bytes"),
        ("anna:$7$101$MDEyMzQ1Njc4OWFi$", "is 0 bytes and must be 64"),
        ("anna:$6$MDEyMzQ1Njc4OWFi$MDEy", "is 3 bytes and must be 64"),
        ("anna:$6$MDEyMzQ1Njc4OWFi$!!!!", "not base64"),
        ("anna:$7$0$MDEyMzQ1Njc4OWFi$MDEy", "iterations must be"),
        ("anna:$7$99999999$MDEyMzQ1Njc4OWFi$MDEy", "iterations must be"),
        ("anna:$7$-1$MDEyMzQ1Njc4OWFi$MDEy", "not a number"),
        ("anna:$7$101$MDEyMzQ1Njc4OWFi", "not of a known kind"),
        ("anna:$scrypt$ln=30,r=8,p=1$MDEyMzQ1Njc4OWFi$MDEy", "of memory"),
        ("anna:$scrypt$ln=14,r=8,p=99$MDEyMzQ1Njc4OWFi$MDEy", "out of range"),
        ("anna:$scrypt$ln=0,r=8,p=1$MDEyMzQ1Njc4OWFi$MDEy", "out of range"),
        ("anna:$scrypt$ln=14$MDEyMzQ1Njc4OWFi$MDEy", "must be like"),
        ("anna:$scrypt$ln=14,r=8,p=1$MDEyMzQ1Njc4OWFi$", "is 0 bytes and must be 32"),
        ("anna:$argon2id$v=19$m=65536$x$y", "not of a known kind"),
        ("anonymous:$6$x$y", "clients without a user"),
        ("an\x07na:$6$x$y", "no name of a user"),
        (" anna:$6$x$y", "begins or ends with a space"),
        (GOOD + ":more", "not base64"),
    ],
)
def test_a_malformed_line_lets_nobody_in(line: str, why: str) -> None:
    users, problems = parse_passwords(f"{GOOD.replace('anna', 'ben')}\n\n{line}\n")
    assert list(users) == ["ben"]
    assert [problem.where for problem in problems] == ["line 3"]
    assert why in problems[0].why


def test_a_second_line_of_a_user_is_refused() -> None:
    users, problems = parse_passwords(f"{GOOD}\n{GOOD}\n")
    assert list(users) == ["anna"]
    assert [str(problem) for problem in problems] == ["line 2: user anna comes twice"]


def test_a_problem_does_not_show_the_hash() -> None:
    _, problems = parse_passwords("anna:$6$c2VjcmV0c2VjcmV0$c2VjcmV0\n")
    assert "c2Vj" not in str(problems)


@given(st.text(max_size=60), st.binary(max_size=8))
def test_no_text_lets_anybody_in_by_chance(text: str, password: bytes) -> None:
    users, _ = parse_passwords(text)
    for kept in users.values():
        assert not kept.is_of(password)


PASSWORDS = st.binary(max_size=40).filter(lambda password: 0 not in password)


@given(PASSWORDS, PASSWORDS)
def test_only_the_same_password_is_right(one: bytes, other: bytes) -> None:
    kept = Scrypt(CHEAP, SALT, hash_password(one, SALT, CHEAP).digest)
    assert kept.is_of(other) is (one == other)
