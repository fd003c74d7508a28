"""Reads the configuration of a standalone broker: our TOML, or a mosquitto.conf."""
