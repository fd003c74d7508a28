"""Keeps the messages that no handler could handle, until a person retries or discards them."""

from gateway.services.deadletters.keeper import DeadLetterKeeper
from gateway.services.deadletters.store import DeadLetter, LetterCounts

__all__ = ["DeadLetter", "DeadLetterKeeper", "LetterCounts"]
