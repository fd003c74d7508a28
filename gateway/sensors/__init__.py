"""Takes sensors that advertise their readings (BTHome v2) as devices, once the owner accepts them."""
