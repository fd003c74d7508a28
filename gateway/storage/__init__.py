"""Stores what a gateway keeps in SQLite files, each with one thread and numbered migrations."""
