"""Composition root: builds the services from configuration, each imported on first use."""
