"""The guides name every command, every option, every slash command and every key of the configuration."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import get_args, get_origin

import click
import pytest
import yaml
from pydantic import BaseModel

from perdure.agents.config import AgentFile, CapSettings, WorkspaceFile
from perdure.cli.app import COMMANDS, perdure
from perdure.cli.chat.commands import COMMANDS as SLASH

ROOT = Path(__file__).parents[2]
GUIDES = {path.name: path.read_text() for path in sorted((ROOT / "docs/guides").glob("*.md"))}
ALL = "\n".join(GUIDES.values())
TERMINAL = GUIDES["terminal.md"]


def commands() -> Iterator[tuple[str, ...]]:
    context = click.Context(perdure)
    for name in COMMANDS:
        yield (name,)
        command = perdure.get_command(context, name)
        if isinstance(command, click.Group):
            yield from ((name, inner) for inner in command.list_commands(context))


def row(name: str) -> str:
    """Of the table of commands."""
    found = re.search(rf"^\| `{name}[ `|].*$", TERMINAL, re.MULTILINE)
    return found.group() if found else ""


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_stands_in_the_table_of_the_terminal_guide(name: str) -> None:
    assert row(name), f"docs/guides/terminal.md has no row for `{name}`"


@pytest.mark.parametrize("path", [p for p in commands() if len(p) == 2], ids=" ".join)
def test_every_subcommand_stands_in_its_row_or_in_a_guide(path: tuple[str, str]) -> None:
    command, inner = path
    said = re.search(rf"[|` ]{inner}\b", row(command)) or f"perdure {command} {inner}" in ALL
    assert said, f"no guide says `perdure {command} {inner}`"


def test_the_table_names_no_command_that_is_gone() -> None:
    listed = re.findall(r"^\| `([a-z]+)[ `]", TERMINAL.partition("## Commands")[2], re.MULTILINE)
    assert set(listed) <= set(COMMANDS)


@pytest.mark.parametrize("name", [c.name for c in SLASH.values() if c.help])
def test_every_slash_command_stands_in_the_terminal_guide(name: str) -> None:
    assert f"`/{name}" in TERMINAL


# Keys ------------------------------------------------------------------------------------------------


Key = tuple[type[BaseModel], str]
"""A section and a key of it: what may be written in several places needs to be told once."""


def keys(model: type[BaseModel], before: tuple[str, ...] = ()) -> Iterator[tuple[Key, str]]:
    for name, field in model.model_fields.items():
        path = (*before, name)
        yield (next(c for c in reversed(model.__mro__) if name in fields(c)), name), ".".join(path)
        for inner in models(field.annotation):
            named = (*path, "*") if get_origin(field.annotation) is dict else path
            if inner is not model and len(path) < 5:
                yield from keys(inner, named)


def fields(kind: type) -> Iterable[str]:
    return kind.model_fields if issubclass(kind, BaseModel) and kind is not BaseModel else ()


def models(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    else:
        for argument in get_args(annotation):
            yield from models(argument)


def in_blocks() -> Iterator[tuple[str, ...]]:
    """Paths of keys in the guides' YAML."""

    def walk(value: object, before: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        if isinstance(value, dict):
            for key, inner in value.items():
                yield (*before, str(key))
                yield from walk(inner, (*before, str(key)))
        elif isinstance(value, list):
            for inner in value:
                yield from walk(inner, before)

    for block in re.findall(r"```yaml\n(.*?)```", ALL, re.DOTALL):
        for part in re.split(r"\n\n", block) if "\n\n" in block else [block]:
            try:
                yield from walk(yaml.safe_load(part), ())
            except yaml.YAMLError:
                continue


def in_words() -> Iterator[tuple[str, ...]]:
    """`a.b`, and after it `.c` for `a.c`; `{x, y}` for what a mapping holds."""
    for line in ALL.splitlines():
        parent: tuple[str, ...] = ()
        for code in re.findall(r"`([^`]+)`", line):
            if re.fullmatch(r"\.?[A-Za-z_]+(\.[A-Za-z_*]+)*", code):
                path = tuple(code.removeprefix(".").split("."))
                if code.startswith("."):
                    path = (*parent[:-1], *path)
                parent = path
                yield path
            elif code.startswith("{"):
                yield from ((*parent, word) for word in re.findall(r"[a-z_]+(?=[,:}])", code))


SAID = {*in_blocks(), *in_words()}
TAILS = {path[n:] for path in SAID for n in range(len(path))}
PLACES: dict[Key, list[str]] = {}
for found in (*keys(WorkspaceFile), *keys(AgentFile)):
    PLACES.setdefault(found[0], []).append(found[1].removeprefix("spec."))


def told(place: str) -> bool:
    path = tuple(place.split("."))
    if "*" in path:  # a name the owner chooses
        return any(s[0] == path[0] and s[-1] == path[-1] and len(s) == len(path) for s in SAID)
    return path in SAID if len(path) == 1 else path[-2:] in TAILS


@pytest.mark.parametrize(
    "key", [k for k in PLACES if k[1] not in ("apiVersion", "kind")], ids=lambda k: PLACES[k][0]
)
def test_every_key_of_the_configuration_stands_in_a_guide(key: Key) -> None:
    said = any(told(place) for place in PLACES[key])
    if key[0] is CapSettings:  # of all caps at once
        said = said or f"`{key[1]}`" in GUIDES["budgets.md"]
    assert said, f"no guide says {' or '.join(PLACES[key][:3])}"


@pytest.mark.parametrize("name", list(WorkspaceFile.model_fields))
def test_the_table_of_perdure_yaml_has_every_section(name: str) -> None:
    table = GUIDES["agents.md"].partition("## perdure.yaml")[2].partition("## agent.yaml")[0]
    assert re.search(rf"^\| .*`{name}[`.]", table, re.MULTILINE)


@pytest.mark.parametrize(
    "name",
    [*AgentFile.model_fields["spec"].annotation.model_fields],  # type: ignore[union-attr]
)
def test_the_table_of_agent_yaml_has_every_section(name: str) -> None:
    table = GUIDES["agents.md"].partition("## agent.yaml")[2].partition("## Variables")[0]
    assert re.search(rf"^\| .*`{name}[`.]", table, re.MULTILINE)


def anchors(text: str) -> set[str]:
    heads = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^a-z0-9 _-]", "", head.lower()).replace(" ", "-") for head in heads}


def test_every_page_and_place_that_is_linked_is_there() -> None:
    for name, text in GUIDES.items():
        for link, place in re.findall(r"\]\(([^)#:]*\.(?:md|json))?(?:#([^)]*))?\)", text):
            page = ROOT / "docs/guides" / (link or name)
            assert page.exists(), f"{name} links to {link}"
            assert not place or place in anchors(page.read_text()), (
                f"{name} links to {link}#{place}"
            )
