"""Providers' APIs, spoken by a local process: for tests of adapters, and to try payctl by hand."""
