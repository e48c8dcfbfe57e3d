"""The LLM abstraction: models behind `kernel.ports.Model`, one adapter for each wire protocol.

Here belongs everything that knows a provider: request and stream formats, authentication, error bodies,
prices, credentials, and the models that need no network (`script`, `rehearsal`). An adapter encodes
each item of a session once and keeps the bytes (decision 0002). What does not belong here: retries,
fallbacks and budgets (kernel), what goes into a prompt (context), and running tools.

Reading order: spec, adapter, transcript, reply, then one of anthropic, gemini, openai_chat.
"""

from __future__ import annotations

from .spec import Effort, ModelSpec, Secret

__all__ = ["Effort", "ModelSpec", "Secret"]
