"""Finds the rights of a topic in a tree of filters, at a cost of the topic's depth.

Theory of operation
-------------------
A filter is a path, one node per level; "#" is the `tail` of the node before it. A level with %c or
%u is a template, compared once expanded for the client. Every question walks one level at a time
with the nodes reached so far: the level itself, "+", and templates that give this level. What is
not reached costs nothing, so neither the number of rules nor that of users matters.

A name that must not stand in a template (rules.expand() is None) reaches nothing in a tree of
grants, and everything in a tree of denials: both ways the client gets less, never more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.access.rights.rules import Rule, expand, has_variable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broker.policy import Identity

NOTHING = 0  # speed: rights are plain numbers here, see acl.py


class _Node:
    __slots__ = ("children", "rights", "tail", "templates")

    def __init__(self) -> None:
        self.children: dict[str, _Node] = {}
        self.templates: dict[str, _Node] = {}
        self.rights = NOTHING
        self.tail = NOTHING  # of this level's "#"


class RightsTree:
    """Filters with rights."""

    def __init__(self, *, denies: bool = False) -> None:
        self._root = _Node()
        self._denies = denies

    def add(self, rule: Rule) -> None:
        """Add a rule with a valid filter."""
        node = self._root
        for level in rule.topic_filter.split("/"):
            if level == "#":
                node.tail |= int(rule.rights)
                return
            is_template = rule.is_pattern and has_variable(level)
            kin = node.templates if is_template else node.children
            node = kin.setdefault(level, _Node())
        node.rights |= int(rule.rights)

    def cover(self, wanted: str, identity: Identity) -> int:
        """Return the rights of all filters that match a topic, or every topic a filter matches.

        A wildcard that is wanted is matched by the same or a wider one only.
        """
        held, nodes = NOTHING, [self._root]
        for index, level in enumerate(wanted.split("/")):
            wild = _is_wild(index, level)
            following: list[_Node] = []
            for node in nodes:
                if wild:
                    held |= node.tail
                if level != "#" and (node.children or node.templates):
                    following += self._steps(node, level, identity, wild=wild)
            nodes = following
            if not nodes:
                return held
        for node in nodes:
            held |= node.rights | node.tail  # "a/#" matches "a" itself
        return held

    def overlaps(self, wanted: str, identity: Identity) -> bool:
        """Return whether any filter matches any topic that the wanted filter matches."""
        nodes = [self._root]
        for index, level in enumerate(wanted.split("/")):
            wild = _is_wild(index, level)
            if wild and any(node.tail for node in nodes):
                return True
            if level == "#" and index:
                return bool(nodes)  # each stands for a filter at or below
            following: list[_Node] = []
            for node in nodes:
                if level in {"+", "#"}:
                    following += _all_children(node, index)
                else:
                    following += self._steps(node, level, identity, wild=wild)
            nodes = following
        return any(node.rights or node.tail for node in nodes) or (wanted == "#" and bool(nodes))

    def _steps(self, node: _Node, level: str, identity: Identity, *, wild: bool) -> Iterator[_Node]:
        if level in node.children:
            yield node.children[level]
        if wild and level != "+" and "+" in node.children:
            yield node.children["+"]
        for template, child in node.templates.items():
            if not wild and not template.startswith("$"):
                continue  # nobody gets $SYS by calling himself so
            expanded = expand(template, identity)
            if expanded == level or (expanded is None and self._denies):
                yield child


def _is_wild(index: int, level: str) -> bool:
    # [MQTT-4.7.2-1] a leading wildcard does not match $SYS and its like
    return index > 0 or not level.startswith("$")


def _all_children(node: _Node, index: int) -> Iterator[_Node]:
    for kin in (node.children, node.templates):
        for level, child in kin.items():
            if _is_wild(index, level):
                yield child
