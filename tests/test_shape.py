"""The shape the design asks for: what the kernel may import, and how long it may grow."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import perdure

PACKAGE = Path(perdure.__file__).parent
KERNEL_LINES = 1_900
"""Of code: without blank lines, comments, docstrings and imports."""


def code_lines(path: Path) -> int:
    source = path.read_text()
    apart: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if (text and isinstance(node.value.value, str)) or isinstance(  # type: ignore[attr-defined]
            node, ast.Import | ast.ImportFrom
        ):
            apart |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    lines = enumerate(source.splitlines(), 1)
    return sum(bool(s := t.strip()) and s[0] != "#" and n not in apart for n, t in lines)


def test_the_kernel_can_be_read_in_an_afternoon() -> None:
    total = sum(code_lines(path) for path in (PACKAGE / "kernel").glob("*.py"))
    assert total <= KERNEL_LINES


def test_the_kernel_imports_nothing_but_the_standard_library_and_the_codec() -> None:
    for path in (PACKAGE / "kernel").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module or ""]
            else:
                continue
            for name in names:
                root = name.split(".")[0]
                assert root in sys.stdlib_module_names or root == "msgspec", f"{path}: {name}"


def test_every_package_opens_with_its_charter() -> None:
    for path in PACKAGE.glob("*/__init__.py"):
        text = ast.get_docstring(ast.parse(path.read_text())) or ""
        assert "belongs here" in text or "Here belongs" in text or "belong here" in text, path
