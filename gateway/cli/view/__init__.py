"""What a gateway is doing, for people: a snapshot, what changed, and the screen."""
