"""What the gate would say of a call, asked of a real one: for the owner who writes rules. Runs no tool."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from perdure.agents import Agents, Workspace
from perdure.guard import Flow, Places, PolicyFiles, PolicyGate, TrustFile
from perdure.guard.query import Decision, Origin, Query
from perdure.kernel.errors import PerdureError, StorageError
from perdure.kernel.events import (
    ArtifactId,
    CallId,
    Json,
    Limits,
    MessageId,
    MessageReceived,
    Record,
    SessionId,
    Text,
    ToolCall,
    TurnId,
    TurnStarted,
)
from perdure.kernel.labels import OWNER
from perdure.kernel.ports import Ask, Refuse
from perdure.sandbox import SupervisedCommands, boot_id
from perdure.storage import SystemClock, TimeIds
from perdure.tools import CORE_TOOLS, Bench, Toolbox

from .confining import Containing, cannot_reach_out
from .outside import Outside
from .secrecy import Secrecy

SESSION = SessionId("s_foretold")


@dataclass(frozen=True, kw_only=True, slots=True)
class Foretold:
    verdict: Literal["runs", "asks", "refused"]
    why: str
    seen: tuple[Query, Decision] | None
    """The call as the rules see it, and what they say of it; None: it could not be made at all."""


async def foretell(
    workspace: Workspace,
    agent: str,
    tool: str,
    arguments: Mapping[str, Json],
    *,
    origin: Origin = "interactive",
) -> Foretold:
    """In a new session in the workspace's folder, in which nobody but the owner has spoken yet and who wrote
    the arguments there. Raises ConfigError."""
    agents, private = Agents(workspace), workspace.private
    policy = PolicyFiles(private, agent)
    clock = SystemClock()
    earlier = _begun(origin, arguments, clock)
    commands = SupervisedCommands(private / "processes")
    outside = Outside(agents, Secrecy.of(workspace))
    try:
        toolbox = Toolbox(
            core=CORE_TOOLS,
            folders=(private / "tools", private / "agents" / agent / "tools"),
            also=outside.tools,
        )
        toolbox.refresh()
        walls = Containing(agents, outside, SESSION, agent, workspace.root)
        bench = Bench(
            toolbox,
            session=SESSION,
            workdir=workspace.root,
            artifacts=_Nowhere(),
            commands=commands.within(walls.containment, walls.confines),
            scratch=private / "processes",
            context=lambda: OWNER,
            doors=outside.egress.door(SESSION, agent),
        )
        places = Places(
            workspace=workspace.root,
            workdir=workspace.root,
            agent=agent,
            commands=lambda: _commands_of(agents, agent),
        )
        gate = PolicyGate(
            bench,
            policy,
            places,
            session=SESSION,
            ids=TimeIds(),
            clock=clock,
            flow=Flow(
                earlier=lambda: earlier,
                tools=toolbox.get,
                directory=TrustFile(private / "trust.yaml").current,
                admits=lambda url, tool: outside.admits(url, tool, agent),
                control=lambda path: places.zone(path, write=True) == "control",
                contained=lambda: cannot_reach_out(walls.confines()),
            ),
            environment=commands.environment,
            earlier=lambda: earlier,
            boot=boot_id(),
        )
        call = ToolCall(id=CallId("c1"), name=tool, arguments=dict(arguments))
        verdict = await gate.judge(call, key="foretold", label=OWNER)
        seen = gate.looked_at(call)
    finally:
        await commands.close()
        await outside.close()
    if isinstance(verdict, Refuse):
        said = " ".join(p.text for p in verdict.result.parts if isinstance(p, Text))
        return Foretold(verdict="refused", why=said, seen=seen)
    if isinstance(verdict, Ask):
        return Foretold(verdict="asks", why=verdict.request.reason, seen=seen)
    allowed = seen is not None and seen[1].effect == "allow"
    why = verdict.started.permit if allowed else f"{verdict.started.permit} lets it"
    return Foretold(verdict="runs", why=why, seen=seen)


def _begun(origin: Origin, arguments: Mapping[str, Json], clock: SystemClock) -> tuple[Record, ...]:
    source = "terminal" if origin == "interactive" else origin
    said = Text(text="\n".join(_texts(list(arguments.values()))))
    message = MessageId("m_foretold")
    received = MessageReceived(message=message, parts=(said,), source=source, label=OWNER)
    began = TurnStarted(turn=TurnId("t_foretold"), messages=(message,), limits=Limits())
    now = clock.now()
    return (Record(seq=1, at=now, event=received), Record(seq=2, at=now, event=began))


def _texts(values: list[Json]) -> list[str]:
    found: list[str] = []
    for value in values:
        if isinstance(value, dict):
            found += _texts(list(value.values()))
        elif isinstance(value, list):
            found += _texts(value)
        else:
            found.append(str(value))
    return found


def _commands_of(agents: Agents, agent: str) -> list[str]:
    """Those that the runtime runs itself."""
    channels = [c.command for c in agents.workspace.config.outbox.values()]
    try:
        return [*(h.command for h in agents.get(agent).hooks), *channels]
    except PerdureError:
        return channels


class _Nowhere:
    """Implements tools.Artifacts, for calls that are not run."""

    def put(self, data: bytes, ext: str) -> ArtifactId:
        raise StorageError("nothing is run here, so nothing is kept")

    def put_file(self, path: Path, ext: str) -> ArtifactId:
        raise StorageError("nothing is run here, so nothing is kept")

    def path(self, artifact: ArtifactId) -> Path:
        raise StorageError("nothing is run here, so nothing is kept")
