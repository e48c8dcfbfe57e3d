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
SIZE_PATTERN = r"^(?:none|(?:100|[1-9][0-9]?)%|[0-9]{1,15} ?[KMGT]?(?:i?B)?)$"
EGRESS_PATTERN = (
    r"^(?:(?:GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS)(?:,(?:GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS))* +)?"
    r"(?:https?://)?(?:\*|(?:\*\.)?[^\s/:*@\[\]%\\]+|\[[0-9A-Fa-f:.]+\])(?::(?:[0-9]{1,5}|\*))?(?:/\S*)?$"
)
PRIVATE_PATTERN = r"^(?:[^\s/:*@\[\]%\\]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}$"
URL_PATTERN = r"^(?:https?://[^\s@]+)?$"
SECRET_PATTERN = r"^(?:secret://[A-Za-z0-9][A-Za-z0-9_.-]{0,63})?$"

NOT_YET: frozenset[tuple[str, ...]] = frozenset(
    {("spec", "tools"), ("spec", "skills_dir"), ("spec", "access")}
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


class Price(Section):
    """US dollars for a million tokens."""

    input: float = Field(ge=0)
    output: float = Field(ge=0)


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
    price: Price | None = Field(
        default=None, description="Where none is known, or another one holds for you."
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


class CapSettings(Section):
    """What may be used in all. Not given: unlimited."""

    cost_usd: float | None = Field(default=None, gt=0)
    tokens: int | None = Field(default=None, ge=1, description="In and out.")
    calls: int | None = Field(default=None, ge=1, description="Tool calls.")
    turns: int | None = Field(default=None, ge=1)
    seconds: float | None = Field(default=None, gt=0, description="Of work.")


class Budget(Section):
    """What one turn may use, and what a session, a day and a month may. Not given: rounds 100, turns
    that no person began 50 a day, the rest unlimited."""

    session: CapSettings = Field(default=CapSettings(), description="Of one session in all.")
    day: CapSettings = Field(default=CapSettings(), description="Of the agent, by UTC day.")
    month: CapSettings = Field(default=CapSettings(), description="Of the agent.")
    unattended: CapSettings = Field(
        default=CapSettings(turns=50),
        description="Of the agent and day, for turns that no person began.",
    )
    rounds: int | None = Field(default=None, ge=1, description="Model calls.")
    calls: int | None = Field(default=None, ge=1, description="Tool calls.")
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


class SandboxSettings(Section):
    """What the commands of tools may reach; see the guide on the sandbox."""

    backend: Literal["auto", "bubblewrap", "launcher", "docker", "seatbelt", "none"] = Field(
        default="auto",
        description="none: commands can do whatever you can. auto: the best that works here, or no "
        "commands at all.",
    )
    read: tuple[str, ...] = Field(
        default=(), description="Folders and files to show besides the system's; ~ is your home."
    )
    write: tuple[str, ...] = Field(
        default=(), description="Folders that can be written besides the working folder."
    )
    network: Literal["none", "proxy", "open"] = Field(
        default="proxy",
        description="proxy: only what `egress` lets through. open: everything, unseen.",
    )
    memory: str = Field(
        default="50%", pattern=SIZE_PATTERN, description="E.g. 2G, 50% of the machine's, none."
    )
    processes: int = Field(default=512, ge=16, le=1_000_000)
    file_size: str = Field(
        default="8G", pattern=SIZE_PATTERN, description="Of each file a command writes."
    )
    image: str = Field(default="", description="For the docker backend.")


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
    sandbox: SandboxSettings = Field(
        default=SandboxSettings(), description="What is not given is as in perdure.yaml."
    )
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
    rate: float = Field(
        default=100,
        gt=0,
        le=100_000,
        description="Requests a second that one token may make from one client; five times as many "
        "may come at once.",
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


def _destination(value: object) -> object:
    """`api.github.com` is short for `{to: api.github.com}`."""
    return {"to": value} if isinstance(value, str) else value


class EgressRule(Section):
    """`[METHODS] [https://]host[:port][/path]`; a host may begin with `*.`, a path hold `*`."""

    to: str = Field(pattern=EGRESS_PATTERN, description="E.g. GET https://api.github.com/repos/*")
    tools: tuple[str, ...] = Field(default=(), description="Only for these; empty means all.")
    agents: tuple[str, ...] = Field(default=(), description="Only for these; empty means all.")


OneEgressRule = Annotated[EgressRule, BeforeValidator(_destination)]


class EgressSettings(Section):
    """What may leave this machine. A rule that denies wins."""

    default: Literal["ask", "allow", "deny"] = Field(
        default="ask",
        description="For what no rule names. ask: a call that was judged or approved with that "
        "address goes out, commands in the sandbox do not.",
    )
    allow: tuple[OneEgressRule, ...] = ()
    deny: tuple[OneEgressRule, ...] = ()
    private: tuple[Annotated[str, Field(pattern=PRIVATE_PATTERN)], ...] = Field(
        default=(), description="host:port on this machine or its network; no others are reached."
    )
    intercept: tuple[OneEgressRule, ...] = Field(
        default=(),
        description="Hosts whose encrypted connections from the sandbox are opened and judged.",
    )


class SearchSettings(Section):
    """The engine behind web_search."""

    provider: Literal["brave", "tavily", "searxng", "custom"]
    url: str = Field(
        default="",
        pattern=URL_PATTERN,
        description="Of searxng or custom; custom: with {query}, and {count} if it takes one.",
    )
    secret: str = Field(
        default="", pattern=SECRET_PATTERN, description="Its key: secret://NAME, never the key."
    )
    headers: dict[str, str] = Field(default={}, description="May hold secret://NAME.")
    results: str = Field(
        default="", description="custom: where the list of results is, e.g. data.items."
    )
    fields: dict[Literal["title", "url", "text"], str] = Field(
        default={}, description="custom: what it calls them."
    )

    @model_validator(mode="after")
    def _complete(self) -> SearchSettings:
        if self.provider in ("brave", "tavily") and not self.secret:
            raise ValueError(f"{self.provider} needs a key: secret: secret://NAME")
        if self.provider == "searxng" and not self.url:
            raise ValueError("searxng needs the url of an instance")
        if self.provider == "custom" and "{query}" not in self.url:
            raise ValueError("custom needs a url with {query} in it")
        return self


class WebSettings(Section):
    fetch: bool = Field(default=True, description="Agents have the tool web_fetch.")
    requests: bool | None = Field(
        default=None,
        description="Agents have http_request; by default if there are secrets, or `egress.allow` or "
        "`.private` names a host.",
    )
    search: SearchSettings | None = Field(
        default=None, description="Agents have web_search if this is given."
    )


class CheckpointSettings(Section):
    """The working folder is kept as it was before a turn's first change; see `perdure rewind`."""

    enabled: bool = True
    keep: int = Field(default=100, ge=1, description="Checkpoints of a session; the oldest go.")
    files: int = Field(default=100_000, ge=1, description="Of one checkpoint, folders included.")
    file_mb: int = Field(default=64, ge=1, description="Larger files are left out.")
    total_mb: int = Field(default=4096, ge=1, description="All contents of one checkpoint.")
    seconds: float = Field(
        default=20, gt=0, description="New contents are no longer read after this."
    )


def _switch(value: object) -> object:
    """`checkpoints: false` is short for `checkpoints: {enabled: false}`."""
    return {"enabled": value} if isinstance(value, bool) else value


class Spending(Section):
    """What all agents together may use."""

    day: CapSettings = Field(default=CapSettings(), description="By UTC day.")
    month: CapSettings = CapSettings()


class WorkspaceFile(Section):
    """perdure.yaml"""

    apiVersion: Literal["perdure/v1"] = PERDURE
    kind: Literal["Workspace"] = "Workspace"
    default_agent: str = Field(default="default", pattern=NAME_PATTERN)
    model: Model | None = Field(default=None, description="For agents that name none.")
    budget: Budget = Field(default=Budget(), description="For agents that set none of their own.")
    spending: Spending = Field(default=Spending(), description="Of all agents together.")
    server: ServerSettings = ServerSettings()
    sandbox: SandboxSettings = SandboxSettings()
    hooks: tuple[HookSettings, ...] = Field(default=(), description="For every agent.")
    checkpoints: Annotated[CheckpointSettings, BeforeValidator(_switch)] = CheckpointSettings()
    egress: EgressSettings = EgressSettings()
    web: WebSettings = WebSettings()
    outbox: dict[Annotated[str, Field(pattern=NAME_PATTERN)], ChannelSettings] = Field(
        default={}, description="Channels that answers can be sent to, by name."
    )
