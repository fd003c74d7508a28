"""The way to the cloud: store-and-forward, topic rules, the SEP's connection."""
