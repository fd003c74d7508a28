"""Stores the values of one container: key, value and tag, in one SQLite file.

`database.Store` is the file itself, whose calls block. `state.State` is what a Python service
uses: JSON values, off the event loop. A service that stores nothing loads no SQLite.
"""
