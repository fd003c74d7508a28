"""Defines the formats that gateway, cloud and device share: ids, topics, records, tokens.

Everything here is pure, values in, values out, but join/. See docs/protocol.md for the tables.
"""
