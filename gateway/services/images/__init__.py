"""Reads images without trusting them, stores them, and packs them."""
