"""Database room: engine, transactions, and what every feature needs (keys, people, audit)."""
