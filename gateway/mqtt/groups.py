"""Names the groups of the identities at the gateway's broker."""

PERSON, DEVICE, CLAIM, CONTAINER = "person", "device", "claim", "container"
USER = "user"  # of [broker.access]

GROUPS = frozenset({PERSON, DEVICE, CLAIM, CONTAINER, USER})
