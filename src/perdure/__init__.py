"""Perdure: a durable, self-hosted runtime for personal AI agents."""

__version__ = "0.1.0"
