"""Declares commands: their names, options and help; imports what they do when they run."""
