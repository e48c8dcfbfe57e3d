"""The first files of a workspace and of an agent. Nothing that is there is ever overwritten."""

from __future__ import annotations

import json
import re
from pathlib import Path

from perdure.kernel.errors import Conflict, InvalidInput, StorageError

from .agent import BUILT_IN, FILE, TEXTS
from .config import NAME_PATTERN, PERDURE
from .workspace import FILE as WORKSPACE_FILE
from .workspace import PRIVATE, Workspace

_WORKSPACE = """\
# A Perdure workspace. Reference: docs/guides/agents.md
apiVersion: {version}
kind: Workspace
default_agent: {agent}
{model}
"""

_NO_MODEL = """\
# The model of every agent that names none. Without one, the built-in rehearsal answers.
# model: anthropic/<name>    or openai/<name>, gemini/<name>, openrouter/<name>, ollama/<name>"""

_AGENT = """\
apiVersion: {version}
kind: Agent
metadata:
  name: {name}
  description: {description}
spec:
  {model}
  # budget: {{rounds: 100, cost_usd: 2.50}}    # what one turn may use
"""

_POLICY = """\
# What agents may do. ask: reading within the working directory runs, the rest asks you.
# auto: what is not denied runs within the working directory.
mode: ask
allow: []
deny: []
"""

_IGNORE = """\
/sessions/
/processes/
/unfinished/
/outbox/
/run/
/index.sqlite*
/policy.local.yaml
"""

_MEMORY = """\
<!-- What this agent keeps in mind, one short line each. It is read when a session starts; the agent
     writes here, and so may you. Comments like this one are not sent. -->
"""


def scaffold(root: Path, *, agent: str = "default", model: str = "") -> tuple[Path, ...]:
    """Make a workspace with one agent; return the files written. What was there already stays, so
    doing it twice is safe. Raises InvalidInput for a bad name, StorageError."""
    _check_name(agent)
    private = root / PRIVATE
    line = f"model: {json.dumps(model)}" if model else _NO_MODEL
    files = {
        root / WORKSPACE_FILE: _WORKSPACE.format(version=PERDURE, agent=agent, model=line),
        private / "policy.yaml": _POLICY,
        private / ".gitignore": _IGNORE,
        **_agent_files(private / "agents" / agent, agent, "", "Your assistant on this machine."),
    }
    written = _write(files)
    for path in (private / "hooks", private / "tools"):
        try:
            path.mkdir(exist_ok=True)
        except OSError as error:
            raise StorageError(f"{path} could not be made: {error.strerror}") from error
    return written


def create_agent(
    workspace: Workspace, name: str, *, model: str = "", description: str = ""
) -> tuple[Path, ...]:
    """Raises Conflict when there is one of that name, InvalidInput, StorageError."""
    _check_name(name)
    folder = workspace.agents / name
    if (folder / FILE).exists():
        raise Conflict(f"there is an agent {name!r} already", hint=str(folder / FILE))
    return _write(_agent_files(folder, name, model, description))


def _agent_files(folder: Path, name: str, model: str, description: str) -> dict[Path, str]:
    line = (
        f"model: {json.dumps(model)}"
        if model
        else "# model: provider/name    # else the workspace's"
    )
    about = json.dumps(description, ensure_ascii=False)
    texts = {folder / file: (BUILT_IN / file).read_text(encoding="utf-8") for _, file in TEXTS}
    return {
        folder / FILE: _AGENT.format(version=PERDURE, name=name, description=about, model=line),
        **texts,
        folder / "memory" / "MEMORY.md": _MEMORY,
    }


def _check_name(name: str) -> None:
    if not re.fullmatch(NAME_PATTERN, name):
        raise InvalidInput(
            f"{name!r} cannot be an agent's name",
            hint="Letters, digits, `-` and `_`, at most 64, beginning with a letter or digit.",
        )


def _write(files: dict[Path, str]) -> tuple[Path, ...]:
    written = []
    for path, text in files.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8") as stream:
                stream.write(text)
        except FileExistsError:
            continue
        except OSError as error:
            raise StorageError(f"{path} could not be written: {error.strerror}") from error
        written.append(path)
    return tuple(written)
