"""Checks users and rights: password files, tokens, certificates, callbacks, access lists.

passwords = PasswordFile(Path("passwords"))
passwords.take(passwords.read())
broker = Broker([Listener()], Chain([passwords]), read_acl(Path("acl.toml")))

A module is imported when its first name is used: a broker without passwords needs none of theirs.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from broker.access.callback import CallbackSource
    from broker.access.certificates import CertificateSource, NameField
    from broker.access.errors import AccessError, AccessProblem
    from broker.access.http_callback import HttpQuestion
    from broker.access.passwords.password_file import PasswordFile
    from broker.access.rights.acl import EVERYTHING, AccessList
    from broker.access.rights.acl_file import read_acl
    from broker.access.rights.rules import ANONYMOUS, Right, Rule, Subject
    from broker.access.source import AnonymousSource, Chain, Source
    from broker.access.tokens import TokenSource, TokenTerms

_NAMES = {
    "broker.access.callback": ("CallbackSource",),
    "broker.access.certificates": (
        "CertificateSource",
        "NameField",
    ),
    "broker.access.errors": (
        "AccessError",
        "AccessProblem",
    ),
    "broker.access.http_callback": ("HttpQuestion",),
    "broker.access.passwords.password_file": ("PasswordFile",),
    "broker.access.rights.acl": (
        "EVERYTHING",
        "AccessList",
    ),
    "broker.access.rights.acl_file": ("read_acl",),
    "broker.access.rights.rules": (
        "ANONYMOUS",
        "Right",
        "Rule",
        "Subject",
    ),
    "broker.access.source": (
        "AnonymousSource",
        "Chain",
        "Source",
    ),
    "broker.access.tokens": (
        "TokenSource",
        "TokenTerms",
    ),
}
_MODULES = {name: module for module, names in _NAMES.items() for name in names}

__all__ = [
    "ANONYMOUS",
    "EVERYTHING",
    "AccessError",
    "AccessList",
    "AccessProblem",
    "AnonymousSource",
    "CallbackSource",
    "CertificateSource",
    "Chain",
    "HttpQuestion",
    "NameField",
    "PasswordFile",
    "Right",
    "Rule",
    "Source",
    "Subject",
    "TokenSource",
    "TokenTerms",
    "read_acl",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)
