"""The receiver of provider webhooks: a small ASGI application beside the command line."""
