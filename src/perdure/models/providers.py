"""Who serves models: one row for each provider that can be named in `provider/model`.

A row says which wire protocol a provider speaks, where, and which environment variables hold its key.
A provider without a row is reached by `base_url` (Chat Completions), or through `perdure[providers]`.

Sources: the providers' API references, and the base addresses and variable names their own SDKs use.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

Protocol = Literal["anthropic", "gemini", "openai-chat", "openai-responses", "script", "rehearsal"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Provider:
    name: str
    title: str
    """As people know it."""
    protocol: Protocol
    base_url: str = ""
    """Empty where the adapter knows it."""
    hosts: tuple[str, ...] = ()
    """The provider's own, besides that of `base_url`: its key goes there and nowhere else."""
    env: tuple[str, ...] = ()
    """Variables that may hold the key, the first being the usual one."""
    key: Literal["needed", "optional", "none"] = "needed"
    """`optional`: a server of the owner's own, which may ask for one."""
    base_url_env: str = ""
    """Variable that moves a local server elsewhere."""
    keys_at: str = ""
    """Where a person gets a key."""
    aliases: tuple[str, ...] = ()
    prices: str = ""
    """Its name in genai-prices, where that differs."""
    example: str = ""
    """A model to put into examples and hints."""


_ROWS = (
    Provider(
        name="anthropic",
        title="Anthropic",
        protocol="anthropic",
        hosts=("api.anthropic.com",),
        env=("ANTHROPIC_API_KEY",),
        keys_at="https://platform.claude.com/settings/keys",
        aliases=("claude",),
        example="claude-sonnet-5-5",
    ),
    Provider(
        name="openai",
        title="OpenAI",
        protocol="openai-responses",
        hosts=("api.openai.com", "eu.api.openai.com", "us.api.openai.com"),
        env=("OPENAI_API_KEY",),
        keys_at="https://platform.openai.com/api-keys",
        aliases=("openai-responses",),
        example="gpt-5",
    ),
    Provider(
        name="openai-chat",
        title="OpenAI (Chat Completions)",
        protocol="openai-chat",
        hosts=("api.openai.com", "eu.api.openai.com", "us.api.openai.com"),
        env=("OPENAI_API_KEY",),
        keys_at="https://platform.openai.com/api-keys",
        prices="openai",
        example="gpt-5",
    ),
    Provider(
        name="gemini",
        title="Google Gemini",
        protocol="gemini",
        hosts=("generativelanguage.googleapis.com",),
        env=("GEMINI_API_KEY", "GOOGLE_API_KEY"),
        keys_at="https://aistudio.google.com/apikey",
        aliases=("google",),
        prices="google",
        example="gemini-2.5-pro",
    ),
    Provider(
        name="openrouter",
        title="OpenRouter",
        protocol="openai-chat",
        base_url="https://openrouter.ai/api/v1",
        env=("OPENROUTER_API_KEY",),
        keys_at="https://openrouter.ai/settings/keys",
        example="anthropic/claude-sonnet-4.5",
    ),
    Provider(
        name="ollama",
        title="Ollama",
        protocol="openai-chat",
        base_url="http://127.0.0.1:11434/v1",
        env=("OLLAMA_API_KEY",),
        key="optional",
        base_url_env="OLLAMA_HOST",
        example="qwen3",
    ),
    Provider(
        name="vllm",
        title="vLLM",
        protocol="openai-chat",
        base_url="http://127.0.0.1:8000/v1",
        env=("VLLM_API_KEY",),
        key="optional",
    ),
    Provider(
        name="llamacpp",
        title="llama.cpp",
        protocol="openai-chat",
        base_url="http://127.0.0.1:8080/v1",
        env=("LLAMA_API_KEY",),
        key="optional",
        aliases=("llama.cpp", "llama-cpp"),
    ),
    Provider(
        name="lmstudio",
        title="LM Studio",
        protocol="openai-chat",
        base_url="http://127.0.0.1:1234/v1",
        env=("LM_API_TOKEN",),
        key="optional",
        aliases=("lm-studio",),
    ),
    Provider(
        name="groq",
        title="Groq",
        protocol="openai-chat",
        base_url="https://api.groq.com/openai/v1",
        env=("GROQ_API_KEY",),
        keys_at="https://console.groq.com/keys",
        example="llama-3.3-70b-versatile",
    ),
    Provider(
        name="mistral",
        title="Mistral",
        protocol="openai-chat",
        base_url="https://api.mistral.ai/v1",
        env=("MISTRAL_API_KEY",),
        keys_at="https://console.mistral.ai/api-keys",
        example="mistral-large-latest",
    ),
    Provider(
        name="deepseek",
        title="DeepSeek",
        protocol="openai-chat",
        base_url="https://api.deepseek.com",
        env=("DEEPSEEK_API_KEY",),
        keys_at="https://platform.deepseek.com/api_keys",
        example="deepseek-chat",
    ),
    Provider(
        name="xai",
        title="xAI",
        protocol="openai-chat",
        base_url="https://api.x.ai/v1",
        env=("XAI_API_KEY",),
        keys_at="https://console.x.ai",
        aliases=("x-ai", "grok"),
        prices="x-ai",
        example="grok-4",
    ),
    Provider(
        name="together",
        title="Together AI",
        protocol="openai-chat",
        base_url="https://api.together.xyz/v1",
        env=("TOGETHER_API_KEY",),
        keys_at="https://api.together.ai/settings/api-keys",
        aliases=("togetherai",),
    ),
    Provider(
        name="fireworks",
        title="Fireworks AI",
        protocol="openai-chat",
        base_url="https://api.fireworks.ai/inference/v1",
        env=("FIREWORKS_API_KEY",),
        keys_at="https://fireworks.ai/account/api-keys",
    ),
    Provider(
        name="cerebras",
        title="Cerebras",
        protocol="openai-chat",
        base_url="https://api.cerebras.ai/v1",
        env=("CEREBRAS_API_KEY",),
        keys_at="https://cloud.cerebras.ai",
    ),
    Provider(
        name="moonshotai",
        title="Moonshot AI (Kimi)",
        protocol="openai-chat",
        base_url="https://api.moonshot.ai/v1",
        env=("MOONSHOT_API_KEY", "MOONSHOTAI_API_KEY"),
        keys_at="https://platform.moonshot.ai/console/api-keys",
        aliases=("moonshot", "kimi"),
    ),
    Provider(
        name="zai",
        title="Z.AI (GLM)",
        protocol="openai-chat",
        base_url="https://api.z.ai/api/paas/v4",
        env=("ZAI_API_KEY",),
        keys_at="https://z.ai/manage-apikey/apikey-list",
        aliases=("z-ai",),
    ),
    Provider(name="script", title="A scripted model", protocol="script", key="none"),
    Provider(name="rehearsal", title="The rehearsal model", protocol="rehearsal", key="none"),
)

PROVIDERS: Mapping[str, Provider] = MappingProxyType({row.name: row for row in _ROWS})

_BY_ALIAS = {alias: row for row in _ROWS for alias in (row.name, *row.aliases)}


def find(name: str) -> Provider | None:
    """The row for a provider's name or alias; None if there is none."""
    return _BY_ALIAS.get(name.strip().lower())


def nearest(name: str) -> str:
    """The provider somebody probably meant; empty when nothing comes close."""
    from difflib import get_close_matches

    close = get_close_matches(name.strip().lower(), list(_BY_ALIAS), n=1, cutoff=0.6)
    return _BY_ALIAS[close[0]].name if close else ""
