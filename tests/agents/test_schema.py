"""The published JSON Schemas are those of the models."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from perdure.agents import agent_schema, workspace_schema
from perdure.context import ContextBudget
from perdure.kernel.events import Json

FOLDER = Path(__file__).parents[2] / "docs/schema"


@pytest.mark.parametrize(
    ("name", "schema"), [("agent", agent_schema()), ("perdure", workspace_schema())]
)
def test_what_is_published_is_what_is_read(name: str, schema: dict[str, Json]) -> None:
    """After a change on purpose: PERDURE_WRITE_SCHEMAS=1 pytest tests/agents/test_schema.py"""
    file = FOLDER / f"{name}.schema.json"
    text = json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
    if os.environ.get("PERDURE_WRITE_SCHEMAS"):
        file.write_text(text, encoding="utf-8")
    assert file.read_text(encoding="utf-8") == text


def test_a_model_may_be_written_as_text() -> None:
    text = json.dumps(agent_schema()["$defs"])
    assert '"model": {"anyOf": [{"type": "string"}, {"$ref": "#/$defs/ModelSettings"}' in text
    assert '"items": {"anyOf": [{"type": "string"}, {"$ref": "#/$defs/OneModel"}]}' in text


def test_a_number_may_come_from_the_environment() -> None:
    number = '{"minimum": 0, "maximum": 65535, "type": "integer"}'
    either = f'"anyOf": [{number}, {{"$ref": "#/$defs/FromEnvironment"}}]'
    assert either in json.dumps(workspace_schema()["$defs"])


def test_the_defaults_of_the_context_are_those_of_its_budget() -> None:
    from perdure.agents.config import ContextSettings

    settings, budget = ContextSettings(), ContextBudget()
    for name in ("max_result_tokens", "clear_at", "keep_results", "compact_at", "keep_tokens"):
        assert getattr(settings, name) == getattr(budget, name)
