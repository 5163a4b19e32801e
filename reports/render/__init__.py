"""Renderings of an audit: terminal, Markdown, HTML."""
