"""Leaks: finds credentials in what is about to leave this machine, or to be kept.

Here belongs how a known secret looks in every usual encoding, what the common kinds of credentials look
like, the scanner over both, and taking out what it found. What does not belong here: where the known
secrets come from (`runtime` hands them in), and what becomes of a text that holds one (egress, outbox,
logs and tools each decide for themselves).

This is a tripwire, not a wall: a model that wants to can split or scramble a value so that no scanner
knows it. The wall is that the model never has the value, and that an action is judged by its labels.

Reading order: scanner, forms, known, decoding, rules.
"""

from __future__ import annotations

from .forms import Own
from .scanner import Leak, Leaks, Unavailable

__all__ = ["Leak", "Leaks", "Own", "Unavailable"]
