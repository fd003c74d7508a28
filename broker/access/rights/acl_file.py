"""Reads the access list from a file."""

import logging
from pathlib import Path

from broker.access.errors import AccessError
from broker.access.rights.acl import AccessList
from broker.access.rights.acl_lines import parse_acl_lines
from broker.access.rights.acl_toml import parse_acl_toml
from broker.access.rights.text import read_text

logger = logging.getLogger(__name__)


def read_acl(path: Path) -> AccessList:
    """Return the list; AccessError when any rule is wrong, for it may be the one that denies."""
    parse = parse_acl_toml if path.suffix == ".toml" else parse_acl_lines
    rules, problems = parse(read_text(path))
    if problems:
        raise AccessError(path, problems)
    if not rules:
        logger.warning("%s has no rules: nobody may read or write anything", path)
    return AccessList(rules)
