"""The methods of HTTP that requests are made with, in rules, bindings of secrets and tools alike."""

from typing import Literal, get_args

Method = Literal["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"]
METHODS: tuple[Method, ...] = get_args(Method)
READING: tuple[Method, ...] = ("GET", "HEAD", "OPTIONS")
"""Those that ask for nothing to be changed."""
