"""Users and rights for a broker: password files, tokens, certificates, callbacks, access lists.

passwords = PasswordFile(Path("passwords"))
passwords.take(passwords.read())
broker = Broker([Listener()], Chain([passwords]), read_acl(Path("acl.toml")))
"""

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
