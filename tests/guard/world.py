"""A gate over the real bench, with policy files in a workspace."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from perdure.guard import Flow, Places, PolicyFiles, PolicyGate
from perdure.guard.flow import Finding
from perdure.guard.policy import Policy
from perdure.guard.query import Query
from perdure.guard.rules import Rule
from perdure.guard.seams import Loops
from perdure.kernel.events import (
    ApprovalDecided,
    ApprovalRequested,
    ApprovalScope,
    ArtifactId,
    CallId,
    Json,
    Record,
    SessionId,
    ToolCall,
    ToolResult,
)
from perdure.kernel.labels import OWNER, Label
from perdure.kernel.ports import Allow, Ask, Refuse, Verdict
from perdure.sandbox import SupervisedCommands
from perdure.storage import SystemClock
from perdure.tools import CORE_TOOLS, Bench, Tool, Toolbox, ToolContext, ok
from perdure.tools.base import Touch
from perdure.tools.web_fetch import WebFetch


class Look(Tool):
    """Reads nothing in particular."""

    effects = frozenset({"reads"})

    async def execute(self, context: ToolContext) -> ToolResult:
        return ok("seen")


class Post(Tool):
    """Tells the world."""

    effects = frozenset({"network"})
    to: str = ""

    async def execute(self, context: ToolContext) -> ToolResult:
        return ok("sent")


class Buy(Tool):
    """Spends."""

    effects = frozenset({"spends"})

    async def execute(self, context: ToolContext) -> ToolResult:
        return ok("bought")


class CountingIds:
    def __init__(self) -> None:
        self.count = 0

    def new(self, kind: str) -> str:
        self.count += 1
        return f"{kind}_{self.count}"

    def jitter(self) -> float:
        return 0.5


class NoArtifacts:
    def put(self, data: bytes, ext: str) -> ArtifactId:
        return ArtifactId("0" * 64 + ext)

    def put_file(self, path: Path, ext: str) -> ArtifactId:
        return ArtifactId("0" * 64 + ext)

    def path(self, artifact: ArtifactId) -> Path:
        return Path("/nonexistent")


class Told(Flow):
    """Says what it was told to say, but nothing against values that are vouched for."""

    def __init__(self, finding: Finding) -> None:
        super().__init__()
        self.finding = finding

    def weigh(self, prepared: object, *, label: Label, endorsed: Sequence[str] = ()) -> Finding:
        asked = self.finding.endorses
        return Finding(verdict="free") if asked and set(asked) <= set(endorsed) else self.finding

    describe = weigh


class World:
    def __init__(self, root: Path) -> None:
        self.workspace = root / "space"
        self.control = self.workspace / ".perdure"
        (self.control / "agents" / "ann" / "memory").mkdir(parents=True)
        (self.workspace / "perdure.yaml").write_text("kind: Workspace\n")
        self.workdir = self.workspace / "work"
        self.workdir.mkdir()
        self.ids = CountingIds()
        self.commands = SupervisedCommands(self.control / "processes")
        self.environment = dict(self.commands.environment)
        self.policy = PolicyFiles(self.control, "ann")
        self.gate = self.open()
        self.keys = 0

    def open(
        self,
        boot: str = "boot",
        session: str = "s_1",
        *,
        finding: Finding | None = None,
        loops: Loops | None = None,
        earlier: Sequence[Record] = (),
    ) -> PolicyGate:
        """As after a restart. `finding`: what flow says of any call, instead of what it would."""
        toolbox = Toolbox(core=(*CORE_TOOLS, WebFetch, Look, Post, Buy))
        self.bench = bench = Bench(
            toolbox,
            session=SessionId(session),
            workdir=self.workdir,
            artifacts=NoArtifacts(),
            commands=self.commands,
            scratch=self.control / "processes",
        )
        places = Places(workspace=self.workspace, workdir=self.workdir, agent="ann")
        return PolicyGate(
            bench,
            self.policy,
            places,
            session=SessionId(session),
            ids=self.ids,
            clock=SystemClock(),
            flow=Flow(tools=toolbox.get) if finding is None else Told(finding),
            environment=self.environment,
            earlier=lambda: earlier,
            loops=loops,
            boot=boot,
        )

    def write_policy(self, text: str, name: str = "policy.yaml") -> None:
        (self.control / name).write_text(text)

    async def judge(
        self,
        tool: str,
        arguments: dict[str, Json] | None = None,
        *,
        decided: ApprovalDecided | None = None,
        grants: Sequence[str] = (),
        key: str = "",
        endorsed: Sequence[str] = (),
        label: Label = OWNER,
    ) -> Verdict:
        self.keys += 1
        call = ToolCall(id=CallId("c1"), name=tool, arguments=arguments or {})
        return await self.gate.judge(
            call,
            key=key or f"k{self.keys}",
            decided=decided,
            grants=grants,
            endorsed=endorsed,
            label=label,
        )

    async def says(
        self, tool: str, arguments: dict[str, Json] | None = None, **more: object
    ) -> str:
        verdict = await self.judge(tool, arguments, **more)  # type: ignore[arg-type]
        if isinstance(verdict, Refuse):
            return "refuse"
        return "ask" if isinstance(verdict, Ask) else "allow"

    async def asked(
        self, tool: str, arguments: dict[str, Json], **more: object
    ) -> ApprovalRequested:
        verdict = await self.judge(tool, arguments, **more)  # type: ignore[arg-type]
        assert isinstance(verdict, Ask), verdict
        return verdict.request

    async def run(self, permit: Verdict, *, resumed: bool = False) -> ToolResult:
        assert not isinstance(permit, Ask | Refuse), permit
        allowed: Allow = permit
        return await self.gate.run(allowed, lambda _: None, resumed=resumed)


def yes(request: ApprovalRequested, scope: ApprovalScope = "once") -> ApprovalDecided:
    return ApprovalDecided(approval=request.approval, answer="allow", scope=scope, by="owner")


def lets(rule: Rule, tool: str, command: str | None, paths: Sequence[Path], workdir: Path) -> bool:
    """Does a policy of this one rule allow the call?"""
    return Policy(allow=(rule,)).weigh(_query(tool, command, paths, workdir)).effect == "allow"


def stops(
    rule: Rule, tool: str, command: str | None, paths: Sequence[Path], workdir: Path
) -> bool | None:
    """Does a policy that denies by this one rule deny the call? None: it asks, as it cannot be told."""
    said = Policy(deny=(rule,)).weigh(_query(tool, command, paths, workdir)).effect
    return None if said == "ask" else said == "deny"


def _query(tool: str, command: str | None, paths: Sequence[Path], workdir: Path) -> Query:
    return Query(
        tool=tool,
        workdir=workdir,
        workspace=workdir,
        command=command,
        touches=[Touch(path=path, write=True) for path in paths],
    )
