"""payctl: payments, refunds and a double-entry ledger for a ticketing platform."""

__version__ = "0.1.0"
