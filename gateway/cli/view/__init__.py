"""Shows a gateway live: snapshot, changes, screen."""
