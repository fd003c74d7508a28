"""Defines the errors of the journal."""

from broker.wire.errors import BrokerError


class JournalError(BrokerError):
    """Bytes are no records, a record cannot be written, or the directory cannot be used."""
