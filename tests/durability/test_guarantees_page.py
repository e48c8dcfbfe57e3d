"""docs/guarantees.md and mutants.yaml name only tests and modules that exist."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "guarantees.md").read_text()
MUTANTS = yaml.safe_load((Path(__file__).parent / "mutants.yaml").read_text())


@cache
def names_in(file: str) -> set[str]:
    tree = ast.parse((ROOT / file).read_text())
    functions = ast.FunctionDef | ast.AsyncFunctionDef
    return {node.name for node in ast.walk(tree) if isinstance(node, functions)}


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`(tests/[^`]+)`", PAGE))))
def test_what_the_page_names_exists(name: str) -> None:
    file, _, test = name.partition("::")
    assert (ROOT / file).exists(), f"{file} is gone"
    assert not test or test in names_in(file), f"{file} has no {test}"


def test_every_guarantee_has_a_line_and_every_built_one_a_test() -> None:
    rows = dict(re.findall(r"^\| ([DS]\d+) \|(.*)$", PAGE, re.MULTILINE))
    assert list(rows) == [f"D{n}" for n in range(1, 13)] + [f"S{n}" for n in range(1, 12)]
    for name, row in rows.items():
        assert ("::test_" in row) != ("not built yet" in row and "in part" not in row), name


def test_every_module_the_page_names_exists() -> None:
    for row in re.findall(r"^\| [DS]\d+ \|.*$", PAGE, re.MULTILINE):
        mechanism = row.split("|")[3]
        for name in re.findall(r"`((?:[a-z]+/)+(?:[a-z_]+\.py)?)`", mechanism):
            assert (ROOT / "src" / "perdure" / name).exists(), name


def test_every_mutant_can_be_applied_and_its_tests_exist() -> None:
    for mutant in MUTANTS:
        assert re.fullmatch(r"D\d+", mutant["guarantee"])
        text = (ROOT / mutant["file"]).read_text()
        assert text.count(mutant["remove"]) == 1, (
            f"{mutant['file']} has changed: bring tests/durability/mutants.yaml up to date with "
            f"{mutant['remove'].strip()!r}"
        )
        assert mutant["remove"] != mutant.get("put", "")
        tests = mutant["test"] if isinstance(mutant["test"], list) else [mutant["test"]]
        assert all((ROOT / test.partition("::")[0]).exists() for test in tests)


def test_there_are_enough_mutants_and_of_every_guarantee_that_is_built() -> None:
    assert len(MUTANTS) >= 40
    assert {m["guarantee"] for m in MUTANTS} >= {f"D{n}" for n in range(1, 13) if n != 8}
    packages = {Path(m["file"]).parts[2] for m in MUTANTS}
    assert packages >= {"kernel", "storage", "runtime", "sandbox", "guard", "server"}
