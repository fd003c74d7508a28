"""Checks passwords: hashes, the password file, SCRAM."""
