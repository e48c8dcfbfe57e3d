"""One agent, read from its folder."""

from __future__ import annotations

import os
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

import msgspec

from perdure.kernel.events import Limits

from .check import check
from .config import (
    DURAGENT,
    NOT_YET,
    PERDURE,
    AgentFile,
    Budget,
    CapSettings,
    ContextSettings,
    HookSettings,
    MemorySettings,
    OneModel,
    SandboxSettings,
    SessionSettings,
)
from .document import Document, read_document, read_text
from .duragent import translate
from .variables import check_variables, put_in, without_comments
from .workspace import Workspace

CAPS = ("session", "day", "month", "unattended")
"""Budgets that reach beyond a turn."""

FILE = "agent.yaml"
TEXTS = (
    ("soul", "SOUL.md"),
    ("system_prompt", "SYSTEM_PROMPT.md"),
    ("instructions", "INSTRUCTIONS.md"),
)
"""Key of the spec and the file that is taken when the key is not given, in the prompt's order."""
BUILT_IN = Path(__file__).parent / "texts"

Stamp = tuple[tuple[str, int, int], ...]
"""Path, time of change and size of each file an agent is read from."""


class PromptFile(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    digest: str
    """Of the file, before variables are put in."""
    text: str


class Agent(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    folder: Path
    description: str
    version: str
    labels: Mapping[str, str]
    models: tuple[OneModel, ...]
    """Its own and then its fallbacks; empty when neither it nor its workspace names one."""
    limits: Limits
    """Of a turn."""
    caps: Mapping[str, CapSettings]
    """Of more than a turn: `session`, `day`, `month`, `unattended`."""
    context: ContextSettings
    memory: MemorySettings
    session: SessionSettings
    sandbox: SandboxSettings
    hooks: tuple[HookSettings, ...]
    """The workspace's first."""
    texts: tuple[PromptFile, ...]
    """As written."""
    warnings: tuple[str, ...]
    named: tuple[str, ...]
    """Files of its texts that its spec names, relative to its folder."""
    files: Stamp

    @property
    def model(self) -> str:
        """`provider/name`, or empty."""
        return self.models[0].reference if self.models else ""

    @property
    def memory_folder(self) -> Path:
        return self.folder / "memory"

    def stamp(self) -> object:
        """Differs when any of its files did."""
        return self.files

    def sections(self, variables: Mapping[str, str]) -> tuple[PromptFile, ...]:
        """Its texts as they go into a prompt."""
        return tuple(
            PromptFile(
                name=t.name, digest=t.digest, text=put_in(without_comments(t.text), variables)
            )
            for t in self.texts
        )


def load_agent(folder: Path, workspace: Workspace) -> Agent:
    """Raises ConfigError with file, line and what was expected."""
    before = stamp_of(folder, [])
    document = read_document(folder / FILE, workspace.env)
    _check_version(document)
    ours, warnings = translate(document)
    for where in sorted(NOT_YET):
        if _at(ours, where):
            raise document.error(where, f"`{'.'.join(where)}` is not supported yet")
    file = check(ours, AgentFile)
    if file.metadata.name != folder.name:
        message = f"`metadata.name` is {file.metadata.name!r} but the folder is {folder.name!r}"
        if file.apiVersion == PERDURE:
            raise document.error(("metadata", "name"), message, "They must be the same.")
        warnings += (f"{document.file}: {message}; the folder's name counts",)
    defaults, spec = workspace.config, file.spec
    model = spec.model or defaults.model
    named = tuple(str(getattr(spec, key)) for key, _ in TEXTS if getattr(spec, key))
    # Taken before a file is read: one that changes meanwhile looks changed the next time.
    files = {s[0]: s for s in (*stamp_of(folder, [folder / n for n in named]), *before)}
    texts = _texts(folder, file, document)
    budget = {
        name: getattr(source, name)
        for source in (defaults.budget, spec.budget)
        for name in source.model_fields_set
    }
    return Agent(
        name=folder.name,
        folder=folder,
        description=file.metadata.description,
        version=file.metadata.version,
        labels=file.metadata.labels,
        models=model.chain if model else (),
        limits=Limits(**{k: v for k, v in budget.items() if k not in CAPS}),
        caps={name: budget.get(name) or Budget.model_fields[name].default for name in CAPS},
        context=spec.context,
        memory=spec.memory,
        session=spec.session,
        sandbox=defaults.sandbox.model_copy(
            update={name: getattr(spec.sandbox, name) for name in spec.sandbox.model_fields_set}
        ),
        hooks=(*defaults.hooks, *spec.hooks),
        texts=texts,
        warnings=warnings,
        named=named,
        files=tuple(files.values()),
    )


def stamp_of(folder: Path, named: list[Path]) -> Stamp:
    """Of all files an agent may be read from; one that is not there counts as absent."""
    return stamp_at(places_of(folder, named))


def places_of(folder: Path, named: list[Path]) -> tuple[str, ...]:
    """Paths of all files an agent may be read from, agent.yaml first."""
    paths = (folder / FILE, *(folder / name for _, name in TEXTS), *named)
    return tuple(dict.fromkeys(map(str, paths)))


def stamp_at(places: tuple[str, ...]) -> Stamp:
    """As text and without objects: this stands before each model call."""
    stamps = []
    for path in places:
        try:
            stat = os.stat(path)  # noqa: PTH116
        except OSError:
            continue
        stamps.append((path, stat.st_mtime_ns, stat.st_size))
    return tuple(stamps)


def _check_version(document: Document) -> None:
    given = document.value.get("apiVersion")
    if given not in (PERDURE, DURAGENT):
        what = "is missing" if given is None else f"is {given!r}"
        raise document.error(
            ("apiVersion",), f"`apiVersion` {what}", f"Write: apiVersion: {PERDURE}"
        )


def _at(document: Document, where: tuple[str, ...]) -> bool:
    value: object = document.value
    for key in where:
        if not isinstance(value, dict) or key not in value:
            return False
        value = value[key]
    return True


def _texts(folder: Path, file: AgentFile, document: Document) -> tuple[PromptFile, ...]:
    texts = []
    for key, name in TEXTS:
        given = getattr(file.spec, key)
        path = folder / (given or name)
        if os.path.lexists(path) and not (given and path.is_dir()):
            text = read_text(path)
        elif given:
            raise document.error(("spec", key), f"`spec.{key}`: there is no file {path}")
        elif key == "system_prompt":
            text = read_text(BUILT_IN / name)
        else:
            continue
        if file.apiVersion == PERDURE:
            check_variables(text, str(path))
        texts.append(
            PromptFile(name=name, digest=sha256(text.encode()).hexdigest()[:16], text=text)
        )
    return tuple(texts)
