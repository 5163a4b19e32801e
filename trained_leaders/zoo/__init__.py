"""Shipped leaders, each beside a card with the command that made it."""
