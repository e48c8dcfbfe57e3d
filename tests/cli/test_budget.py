"""`perdure --help` loads nothing heavy and stays within its CPU budget."""

from __future__ import annotations

import os
import subprocess
import sys

from .conftest import child_env

HEAVY = (
    "aiohttp",
    "asyncio",
    "fastapi",
    "genai_prices",
    "msgspec",
    "prompt_toolkit",
    "pydantic",
    "rich",
    "uvicorn",
    "yaml",
)


def _modules(*args: str) -> set[str]:
    program = (
        "import sys; from perdure.cli.app import invoke\n"
        f"invoke({list(args)!r}); print('MODULES', *sys.modules, file=sys.stderr)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], env=child_env(), capture_output=True, text=True, check=True
    )
    assert "Usage: perdure" in ran.stdout or "perdure " in ran.stdout
    return set(ran.stderr.partition("MODULES ")[2].split())


def test_help_and_version_import_nothing_heavy() -> None:
    for option in ("--help", "--version"):
        assert not _modules(option).intersection(HEAVY)


def test_help_takes_at_most_90_ms_of_cpu() -> None:
    command = [sys.executable, "-m", "perdure", "--help"]
    subprocess.run(command, env=child_env(), capture_output=True, check=True)  # compiles
    spent = []
    for _ in range(5):
        before = os.times()
        subprocess.run(command, env=child_env(), capture_output=True, check=True)
        after = os.times()
        spent.append(
            after.children_user
            - before.children_user
            + after.children_system
            - before.children_system
        )
    assert min(spent) <= 0.090, f"{min(spent) * 1000:.0f} ms"


def test_help_names_every_command_with_a_line() -> None:
    from perdure.cli.app import COMMANDS, perdure

    for name in COMMANDS:
        command = perdure.get_command(None, name)  # type: ignore[arg-type]
        assert command is not None
        assert command.help, name
