"""What gateway, cloud and device must agree on: ids, topics, records, tokens, envelopes, prefaces.

Everything here is pure, values in, values out, but join/. See docs/protocol.md for the tables.
"""
