"""Carries messages over links that lose, repeat, reorder and spoil: Bluetooth LE and serial lines.

wire.py has the chunks, stream.py makes an ordered stream of them, records.py seals messages in it.
device/chunks.py and device/sealed.py are the device's side; property tests run both sides against
each other. gateway/links joins them to the broker.
"""
