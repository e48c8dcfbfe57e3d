"""What commands load, and what they must do without."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from perdure.agents import scaffold

USED_LATER = {
    # the first model call, the first thing that could leak, a vault, prices
    "aiohttp", "re2", "pyrage", "genai_prices", "perdure.leaks.rules",
    # tools
    "perdure.guard.shell", "pypdf", "selectolax", "tree_sitter", "markdown_it", "wasmtime",
    "cryptography",
    # models, backups
    "openai", "anthropic", "pydantic_ai", "httpx", "obstore", "sqlite3",
}  # fmt: skip
OF_THE_TERMINAL = {"rich", "prompt_toolkit", "wcwidth", "typer"}
NEVER = {"fastapi", "opentelemetry", "email_validator", "pydantic.v1", "websockets", "multipart"}

SERVE = """
import os, signal, sys
from perdure.cli import serving
announce = serving._announce

def told(file):
    announce(file)
    print(*sorted(set(sys.modules)), file=sys.__stdout__, flush=True)
    os.kill(os.getpid(), signal.SIGTERM)

serving._announce = told
from perdure.cli.app import invoke
sys.exit(invoke(["-w", sys.argv[1], "serve"]))
"""


def _modules(code: str, *args: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", code, *args], capture_output=True, text=True, check=True, timeout=60
    )
    return set(done.stdout.split())


def test_a_server_at_rest_has_loaded_nothing_that_it_may_never_need(tmp_path: Path) -> None:
    scaffold(tmp_path)
    loaded = _modules(SERVE, str(tmp_path))
    assert {"starlette", "uvicorn", "perdure.runtime.opening"} <= loaded
    assert not loaded & (USED_LATER | OF_THE_TERMINAL | NEVER)


def test_help_loads_click_and_nothing_heavier() -> None:
    code = (
        "import sys\n"
        "from perdure.cli.app import invoke\n"
        "import io, contextlib\n"
        "with contextlib.redirect_stdout(io.StringIO()): invoke(['--help'])\n"
        "print(*sys.modules)\n"
    )
    loaded = _modules(code)
    heavy = {"asyncio", "msgspec", "pydantic", "yaml", "starlette", "uvicorn", "perdure.kernel"}
    assert not loaded & (heavy | USED_LATER | OF_THE_TERMINAL | NEVER)
