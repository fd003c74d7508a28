"""Holds the rules for images that a gateway takes: signatures, room, sources."""

from dataclasses import dataclass

from gateway.services.images.limits import MIB


@dataclass(frozen=True, slots=True)
class ImageRules:
    """The rules, from [services] in the configuration."""

    trusted_keys: frozenset[str] = frozenset()  # "ed25519:…"
    require_signature: bool = False  # by one of trusted_keys
    quota_bytes: int = 1024 * MIB  # of the contents of all images
    pull_hosts: tuple[str, ...] = ()  # "example.com", "example.com:8443", "*.example.com"
    v1_paths: bool = False  # serve a microservice also at its path without the client id


DEFAULT_RULES = ImageRules()
