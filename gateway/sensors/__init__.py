"""Makes devices of sensors that advertise their readings (BTHome v2), once they are accepted."""
