"""Defines the error of work on boards."""


class BoardError(Exception):
    """A board or its port cannot be used; the message reads "cannot X: why"."""


class SilentProgramError(BoardError):
    """A program takes too long; the board may not answer it."""
