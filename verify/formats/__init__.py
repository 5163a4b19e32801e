"""Readers and writers of games, plays and other documents."""
