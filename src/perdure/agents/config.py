"""What perdure.yaml and agent.yaml may say. Every key here is one that something reads.

Keys of the design that nothing honours yet are refused by name (`NOT_YET`) rather than ignored; files
of apiVersion duragent/v1alpha1 are read unchanged, and what has no effect here becomes a warning.
"""

from __future__ import annotations

from types import NoneType
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, model_validator

from perdure.kernel.events import Json
from perdure.kernel.ports import HookPoint

PERDURE: Literal["perdure/v1"] = "perdure/v1"
DURAGENT = "duragent/v1alpha1"

HOST_PATTERN = r"^[A-Za-z0-9.-]{1,253}$"
ORIGIN_PATTERN = r"^https?://[^/\s*@]+/?$"
NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"

NOT_YET: frozenset[tuple[str, ...]] = frozenset(
    {("spec", "tools"), ("spec", "skills_dir"), ("spec", "access"), ("spec", "sandbox")}
)
"""Keys of an agent that later releases will honour."""


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _empty_is_absent(cls, value: object) -> object:
        """`spec:` with nothing under it reads as null in YAML, and means that it is not given."""
        if not isinstance(value, dict):
            return value
        fields = cls.model_fields
        return {
            k: v
            for k, v in value.items()
            if v is not None or k not in fields or NoneType in get_args(fields[k].annotation)
        }


def _reference(value: object) -> object:
    """`model: provider/name` is short for `model: {provider: provider, name: name}`."""
    if isinstance(value, str):
        provider, _, name = value.partition(":" if value.startswith("script:") else "/")
        return {"provider": provider, "name": name}
    return value


class OneModel(Section):
    """A model: `provider/name`, or its parts."""

    provider: str = Field(
        min_length=1,
        description="anthropic, openai, gemini, openrouter, ollama, …, `script` or `rehearsal`.",
    )
    name: str = Field(default="", description="The provider's name for the model.")
    base_url: str = Field(default="", description="Of a compatible server of your own.")
    temperature: float | None = Field(default=None, ge=0, le=2)
    max_output_tokens: int | None = Field(default=None, ge=1)
    effort: Literal["", "low", "medium", "high"] = Field(
        default="", description="How much to think."
    )
    context_window: int | None = Field(
        default=None, ge=1_000, description="Tokens; looked up when not given."
    )
    timeout_seconds: float = Field(
        default=300, gt=0, description="Longest silence of the provider."
    )
    headers: dict[str, str] = Field(default={}, description="Sent with every request.")
    extra: dict[str, Json] = Field(
        default={}, description="Put into every request's body as it stands."
    )

    @property
    def reference(self) -> str:
        """`provider/name`, as the user writes it."""
        if not self.name:
            return self.provider
        return f"{self.provider}{':' if self.provider == 'script' else '/'}{self.name}"


class ModelSettings(OneModel):
    """The agent's model, and those to try when it fails."""

    fallbacks: tuple[Annotated[OneModel, BeforeValidator(_reference)], ...] = ()

    @property
    def chain(self) -> tuple[OneModel, ...]:
        """Itself first, then its fallbacks."""
        return (self, *self.fallbacks)


Model = Annotated[ModelSettings, BeforeValidator(_reference)]


class Budget(Section):
    """What one turn may use. Not given: rounds 100, the rest unlimited."""

    rounds: int | None = Field(default=None, ge=1, description="Model calls.")
    tokens: int | None = Field(default=None, ge=1, description="In and out, cached ones included.")
    cost_usd: float | None = Field(default=None, gt=0)
    seconds: float | None = Field(default=None, gt=0, description="Without waiting for approvals.")


class ContextSettings(Section):
    """How the conversation is kept within the model's window."""

    window: int | None = Field(
        default=None,
        ge=1_000,
        description="Tokens to use of the model's window; all when not given.",
    )
    max_result_tokens: int = Field(
        default=10_000, ge=200, description="Longer tool results are cut."
    )
    clear_at: float = Field(default=0.5, gt=0, le=1, description="Share from which old results go.")
    keep_results: int = Field(default=8, ge=1, description="Newest results that are never cleared.")
    compact_at: float = Field(default=0.8, gt=0, le=1, description="Share from which to compact.")
    keep_tokens: int = Field(
        default=20_000, ge=0, description="The end that compaction leaves alone."
    )


class MemorySettings(Section):
    """What of the agent's memory is put before the model."""

    enabled: bool = True
    daily_days: int = Field(
        default=2, ge=0, le=31, description="Daily logs read: today and before."
    )
    max_tokens: int = Field(default=4_000, ge=100)


class SessionSettings(Section):
    collect_ms: int = Field(
        default=0,
        ge=0,
        le=60_000,
        description="Wait this long for more messages before a turn begins.",
    )


class HookSettings(Section):
    """A command that is run at a point of the turn: JSON on its stdin, JSON from its stdout."""

    on: HookPoint
    command: str = Field(min_length=1)
    fail: Literal["open", "closed"] = Field(
        default="open", description="closed: a failing hook blocks what it was asked about."
    )
    timeout: float = Field(default=5, gt=0, le=600, description="Seconds.")
    tools: tuple[str, ...] = Field(default=(), description="Only for these tools; empty means all.")


class Metadata(Section):
    name: str = Field(pattern=NAME_PATTERN)
    description: str = ""
    version: str = ""
    labels: dict[str, str] = {}


class Spec(Section):
    model: Model | None = Field(default=None, description="The workspace's when not given.")
    soul: str = Field(
        default="", description="File with who the agent is; SOUL.md when it is there."
    )
    system_prompt: str = Field(default="", description="SYSTEM_PROMPT.md when it is there.")
    instructions: str = Field(default="", description="INSTRUCTIONS.md when it is there.")
    session: SessionSettings = SessionSettings()
    context: ContextSettings = ContextSettings()
    budget: Budget = Budget()
    memory: MemorySettings = MemorySettings()
    hooks: tuple[HookSettings, ...] = ()


class AgentFile(Section):
    """agent.yaml"""

    apiVersion: Literal["perdure/v1", "duragent/v1alpha1"]
    kind: Literal["Agent"]
    metadata: Metadata
    spec: Spec = Spec()


class ServerSettings(Section):
    host: str = "127.0.0.1"
    port: int = Field(
        default=0, ge=0, le=65_535, description="0: any free one, noted in run/server.json."
    )
    token: SecretStr = Field(
        default=SecretStr(""),
        description="Needed to listen beyond this machine; write ${NAME} here.",
    )
    allowed_hosts: tuple[Annotated[str, Field(pattern=HOST_PATTERN)], ...] = Field(
        default=(),
        description="Names, without port, that the server answers to besides localhost and `host`.",
    )
    allowed_origins: tuple[Annotated[str, Field(pattern=ORIGIN_PATTERN)], ...] = Field(
        default=(), description="Web pages that may call besides its own: https://name[:port]."
    )


class ChannelSettings(Section):
    """A way for answers to leave: a command that is given the letter as JSON on its stdin."""

    command: str = Field(
        min_length=1, description="For the shell, run in the workspace; exit code 0: delivered."
    )
    timeout: float = Field(default=60, gt=0, le=3_600, description="Seconds of one attempt.")


class WorkspaceFile(Section):
    """perdure.yaml"""

    apiVersion: Literal["perdure/v1"] = PERDURE
    kind: Literal["Workspace"] = "Workspace"
    default_agent: str = Field(default="default", pattern=NAME_PATTERN)
    model: Model | None = Field(default=None, description="For agents that name none.")
    budget: Budget = Field(default=Budget(), description="For agents that set none of their own.")
    server: ServerSettings = ServerSettings()
    hooks: tuple[HookSettings, ...] = Field(default=(), description="For every agent.")
    checkpoints: bool = Field(
        default=True,
        description="Keep the working folder as it was before a turn's first change; see rewind.",
    )
    outbox: dict[Annotated[str, Field(pattern=NAME_PATTERN)], ChannelSettings] = Field(
        default={}, description="Channels that answers can be sent to, by name."
    )
