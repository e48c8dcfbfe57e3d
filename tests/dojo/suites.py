"""AgentDojo's suites, without the clients of six model providers that its package loads as well."""

from __future__ import annotations

import importlib.util
import sys
from functools import cache
from types import ModuleType
from typing import Any

VERSION = "v1.2.2"
PAIRS = 949


@cache
def suites() -> dict[str, Any]:
    """By name: workspace, travel, banking, slack. Raises ModuleNotFoundError when it is not installed."""
    spec = importlib.util.find_spec("agentdojo")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("agentdojo is not installed; run `scripts/setup test`")
    root = spec.submodule_search_locations[0]
    # Its suites need one module of the package that holds the providers' clients, and of the one for
    # Gemini the name for an empty call.
    for name in ("agent_pipeline", "agent_pipeline/llms"):
        _put(f"agentdojo.{name.replace('/', '.')}", __path__=[f"{root}/{name}"])
    _put("agentdojo.agent_pipeline.llms.google_llm", EMPTY_FUNCTION_NAME="<empty-function>")
    from agentdojo.task_suite.load_suites import get_suites

    return dict(get_suites(VERSION))


def _put(module: str, **content: Any) -> None:
    if module not in sys.modules:
        made = ModuleType(module)
        vars(made).update(content)
        sys.modules[module] = made


_made: dict[tuple[str, tuple[tuple[str, str], ...]], Any] = {}
"""Environments as loaded: reading the YAML of one takes longer than playing in it."""


def environment(suite: Any, task: Any, injections: dict[str, str]) -> Any:
    """A fresh one, as the task expects it."""
    key = (suite.name, tuple(injections.items()))
    if key not in _made:
        while len(_made) > 40:
            _made.pop(next(iter(_made)))
        _made[key] = suite.load_and_inject_default_environment(injections)
    return task.init_environment(_made[key].model_copy(deep=True))
