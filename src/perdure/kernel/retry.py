"""What a failed model call leads to: another attempt, another model, or the turn's end."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

from .errors import RETRYABLE, ModelError
from .ports import Sent

ATTEMPTS = 6
"""On the last model there is; with a fallback left, half as many."""
FIRST_DELAY = 1.0
"""Seconds; doubles with each attempt."""
LONGEST_DELAY = 60.0
PATIENCE = 900.0
"""Seconds: a provider that asks for a longer wait counts as failed."""


class Next(NamedTuple):
    """Both None: give up."""

    retry_at: datetime | None = None
    fallback: int | None = None


def after(
    error: ModelError, *, attempts: int, index: int, models: int, jitter: float, now: datetime
) -> Next:
    """`attempts` failed before this one on model `index` of `models`; `jitter` in [0, 1)."""
    if error.kind == "context_overflow" and attempts < 2:
        return Next(retry_at=now)
    more = index + 1 < models
    if error.kind in RETRYABLE and attempts + 1 < (ATTEMPTS // 2 if more else ATTEMPTS):
        delay = min(LONGEST_DELAY, FIRST_DELAY * 2**attempts) * (0.5 + jitter / 2)
        delay = max(delay, error.retry_after or 0.0)
        if delay <= PATIENCE:
            return Next(retry_at=now + timedelta(seconds=delay))
    if more:
        return Next(retry_at=now, fallback=index + 1)
    return Next()


DELIVERY_ATTEMPTS = 8
FIRST_DELIVERY_DELAY, LONGEST_DELIVERY_DELAY = 5.0, 3_600.0
"""Seconds; four times longer after each attempt."""


def redelivery(sent: Sent, *, attempt: int, jitter: float, now: datetime) -> datetime | None:
    """When attempt `attempt` + 1 is due; None: no more."""
    if sent.outcome != "retry" or attempt >= DELIVERY_ATTEMPTS:
        return None
    delay = min(LONGEST_DELIVERY_DELAY, FIRST_DELIVERY_DELAY * 4 ** (attempt - 1))
    delay *= 0.75 + jitter / 2
    return now + timedelta(seconds=max(delay, sent.retry_after or 0.0))
