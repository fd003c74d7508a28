"""Defines the formats that gateway, cloud and device share: ids, topics, records, tokens.

Everything here is pure, values in and values out, except splice/. docs/protocol.md has the tables.
"""
