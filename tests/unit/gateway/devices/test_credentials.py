from gateway.devices.credentials import digest_of, is_token, new_token


def test_a_token_is_known_by_its_digest_only() -> None:
    token = new_token().reveal().encode()
    assert len(token) == 24
    assert is_token(token, digest_of(token))
    assert not is_token(token + b"x", digest_of(token))
