"""Carries streams of members to the cloud through the node that holds the SEP."""
