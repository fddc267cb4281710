"""Database room: engine and transactions, and what belongs to every feature (keys, people, audit)."""
