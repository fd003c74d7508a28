"""Reads the settings of a program: its file, its environment and its defaults."""
