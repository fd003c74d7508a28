"""Leads requests, and copies of images, to other nodes."""
