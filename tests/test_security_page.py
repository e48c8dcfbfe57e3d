"""docs/security.md says nothing that is not so: a control has a caller and a test, an attack a test."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import textwrap
from functools import cache, cached_property
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SRC = ROOT / "src"
PAGE = (ROOT / "docs" / "security.md").read_text()
ATTACKS = 30


def table(heading: str) -> list[list[str]]:
    """The rows of the table under a heading."""
    found = re.search(rf"^#+ {re.escape(heading)}$(.*?)(?=^#+ |\Z)", PAGE, re.M | re.S)
    assert found, heading
    rows = [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))]
        for line in found[1].splitlines()
        if line.startswith("|")
    ]
    return rows[2:]


CONTROLS = table("Controls")


def test_there_are_enough_of_them_and_each_stands_once() -> None:
    names = [row[0] for row in CONTROLS]
    assert len(names) == len(set(names)) >= 25


def symbol(text: str) -> object:
    """What a dotted name in code quotes stands for."""
    path = text.strip("`")
    parts = path.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:cut]))
        except ModuleNotFoundError:
            continue
        for name in parts[cut:]:
            found = getattr(found, name)
        return found
    raise AssertionError(path)


def source_of(found: object) -> str:
    """Of a function, a class, or what a property runs."""
    if isinstance(found, property):
        found = found.fget
    elif isinstance(found, cached_property):
        found = found.func
    return inspect.getsource(found)  # type: ignore[arg-type]


def calls(source: str) -> set[str]:
    """Names that are called, or handed on to be called, in a piece of source."""
    tree = ast.parse(textwrap.dedent(source))
    return {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute)} | {
        n.id for n in ast.walk(tree) if isinstance(n, ast.Name)
    }


def module_of(text: str) -> str:
    parts = text.strip("`").split(".")
    while not (SRC / "/".join(parts)).with_suffix(".py").exists():
        parts.pop()
    return ".".join(parts)


@cache
def production() -> frozenset[str]:
    """Modules that the commands of the terminal and what they start import, late imports too."""
    modules = {
        ".".join(file.relative_to(SRC).with_suffix("").parts).removesuffix(".__init__"): file
        for file in (SRC / "perdure").rglob("*.py")
    }
    reached: set[str] = set()
    due = [m for m in modules if m.startswith("perdure.cli.commands.")] + ["perdure.__main__"]
    while due:
        module = due.pop()
        if module in reached or module not in modules:
            continue
        reached.add(module)
        file = modules[module]
        package = module if file.name == "__init__.py" else module.rpartition(".")[0]
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                due += [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                base = package.rsplit(".", node.level - 1)[0] if node.level else ""
                name = ".".join(filter(None, (base, node.module)))
                due += [name, *(f"{name}.{alias.name}" for alias in node.names)]
            elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
                name = getattr(node.args[0], "value", "")  # the supervisor's, from its own folder
                due += [name, f"{package}.{name}"]
    return frozenset(reached)


def named_tests(cell: str) -> list[tuple[Path, str]]:
    found = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", cell)
    return [(ROOT / file, name) for file, name in found]


@pytest.mark.parametrize("row", CONTROLS, ids=lambda row: row[0])
def test_a_control_exists_and_is_called_on_the_production_path(row: list[str]) -> None:
    _, where, caller, *_ = row
    control = symbol(where)
    name = where.strip("`").rpartition(".")[2]
    using = symbol(caller)
    wanted = {name}
    if inspect.isclass(control):
        wanted.add(control.__name__)
    if name == "__call__" or name == "__init__":
        wanted = {where.strip("`").split(".")[-2]}
    assert calls(source_of(using)) & wanted, f"{caller} does not use {where}"
    for path in (where, caller):
        assert module_of(path) in production(), f"nothing that is started imports {path}"


@pytest.mark.parametrize("row", CONTROLS, ids=lambda row: row[0])
def test_what_happens_without_it_is_said_and_tested(row: list[str]) -> None:
    missing, tests = row[3], named_tests(row[4])
    assert missing and tests, row
    for file, name in tests:
        assert re.search(rf"def {name}\(", file.read_text()), f"{file.name}::{name}"


def test_every_attack_has_a_test_or_says_what_it_waits_for() -> None:
    rows = {int(row[0]): row for row in table("Attacks seen in the wild")}
    assert set(rows) == set(range(1, ATTACKS + 1))
    for number, row in rows.items():
        tests = named_tests(row[2])
        assert tests or row[2].startswith("open: "), number
        for file, name in tests:
            assert re.search(rf"def {name}\(", file.read_text()), f"{number}: {file.name}::{name}"


def test_every_attack_test_is_on_the_page() -> None:
    for file in sorted((ROOT / "tests" / "attacks").glob("test_*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            text = ast.get_docstring(node) or ""
            if node.name.startswith("test_") and re.match(r"\d+[:,. ]", text):
                assert f"{file.name}::{node.name}" in PAGE, f"{file.name}::{node.name}"
