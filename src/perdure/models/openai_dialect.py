"""How servers that speak Chat Completions differ from OpenAI's own, as far as it shows on the wire.

Everything not named here is spoken alike by all. A server nobody listed gets the most cautious
dialect; `ModelSpec.extra` overrides any field of a request.

Sources: OpenAI API reference; openrouter.ai/docs (reasoning tokens, prompt caching, usage accounting);
api-docs.deepseek.com (thinking mode); docs.mistral.ai; docs.ollama.com (OpenAI compatibility).
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from perdure.kernel.errors import ConfigError

from .calls import short_id
from .failures import read_error
from .providers import find
from .spec import ModelSpec
from .wire import Response

OPENAI_URL = "https://api.openai.com/v1"
OPENAI_ID = 40
"""Characters, of a call id in Chat Completions: the tightest limit its errors have named."""
MAX_BODY_BYTES = 32 * 1024 * 1024

_MISTRAL_ID = re.compile(r"[A-Za-z0-9]{9}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Dialect:
    """What a Chat Completions server understands. The system prompt always has the role `system`:
    every server knows it, and OpenAI's turns it into `developer` where a model wants that."""

    output_limit: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """The name that every compatible server knows; OpenAI's reasoning models only take the newer."""
    effort: Literal["reasoning_effort", "reasoning"] = "reasoning_effort"
    """`reasoning` is OpenRouter's object."""
    asks_usage: bool = True
    """Send `stream_options`. Mistral always reports usage and refuses the option."""
    tool_choice: bool = False
    """Knows `tool_choice: "none"`, so that tools stay in the cached prefix when they are withdrawn."""
    reasoning_due: str = ""
    """Field without which a message with tool calls is refused while the model thinks; it may be empty."""
    short_ids: bool = False
    """Call ids must be nine letters or digits (Mistral)."""
    longest_id: int = 0
    """Characters a call id may have (OpenAI); 0: any number."""
    cache_marks: bool = False
    """Caches only up to `cache_control` marks (Anthropic's models behind OpenRouter)."""
    tells_cost: bool = False
    """`usage.cost` is what the call cost, in US dollars."""

    def call_id(self, id: str) -> str:
        """The id as this server takes it; the same one always gives the same one."""
        if self.longest_id:
            return short_id(id, self.longest_id)
        if not self.short_ids or _MISTRAL_ID.fullmatch(id):
            return id
        return hashlib.blake2b(id.encode(), digest_size=16).hexdigest()[:9]


def dialect_of(spec: ModelSpec) -> Dialect:
    """By provider, or the host that is spoken to. Raises ConfigError where there is none."""
    host = urlsplit(base_url(spec)).hostname or ""
    row = find(spec.provider)
    provider = row.name if row is not None else spec.provider
    lab = spec.name.lower().rpartition("/")[0]
    if provider == "openrouter" or _under(host, "openrouter.ai"):
        thinks = lab.endswith(("deepseek", "moonshotai"))
        return Dialect(
            effort="reasoning",
            tool_choice=True,
            cache_marks=lab.endswith("anthropic"),
            reasoning_due="reasoning_content" if thinks else "",
            tells_cost=True,
            longest_id=OPENAI_ID if lab.endswith("openai") else 0,
        )
    if provider == "mistral" or _under(host, "mistral.ai"):
        return Dialect(asks_usage=False, short_ids=True)
    if provider in ("deepseek", "moonshotai") or _under(
        host, "deepseek.com", "moonshot.ai", "moonshot.cn"
    ):
        return Dialect(reasoning_due="reasoning_content")
    if _under(host, "openai.com", "openai.azure.com", "services.ai.azure.com"):
        return Dialect(output_limit="max_completion_tokens", tool_choice=True, longest_id=OPENAI_ID)
    return Dialect()


def base_url(spec: ModelSpec) -> str:
    """Without a slash at its end. Raises ConfigError where nobody knows it."""
    row = find(spec.provider)
    url = spec.base_url or (row.base_url if row is not None else "")
    if not url and row is not None and row.name in ("openai", "openai-chat"):
        url = OPENAI_URL
    if not url:
        raise ConfigError(
            f"The model {spec.label} needs a base_url.",
            hint="It is the address before /chat/completions, often ending in /v1.",
        )
    return url.rstrip("/")


def headers(key: str) -> dict[str, str]:
    """Of every request; `key` is the credential, or empty where the server asks for none."""
    plain = {"content-type": "application/json"}
    return {**plain, "authorization": f"Bearer {key}"} if key else plain


async def whole_body(response: Response) -> tuple[bytes, int]:
    """A JSON body where a stream was asked for, and the error status it stands for, should it be an
    error: some servers answer whole, and some report errors under a good status."""
    body = await response.read(MAX_BODY_BYTES)
    code = read_error(body)[0]
    return body, int(code) if code.isdigit() and 400 <= int(code) < 600 else 400


def _under(host: str, *domains: str) -> bool:
    return any(host == domain or host.endswith("." + domain) for domain in domains)
