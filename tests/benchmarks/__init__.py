"""Measurements of payctl against references that run in the same minutes on the same machine."""
