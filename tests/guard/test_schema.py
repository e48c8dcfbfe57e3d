"""The published JSON Schema of policies is that of the reader."""

from __future__ import annotations

import json
import os
from pathlib import Path

from perdure.guard.reading import KEYS, RULE_KEYS, parse
from perdure.guard.schema import policy_schema

FILE = Path(__file__).parents[2] / "docs/schema/policy.schema.json"


def test_what_is_published_is_what_is_read() -> None:
    """After a change on purpose: PERDURE_WRITE_SCHEMAS=1 pytest tests/guard/test_schema.py"""
    text = json.dumps(policy_schema(), indent=2, ensure_ascii=False) + "\n"
    if os.environ.get("PERDURE_WRITE_SCHEMAS"):
        FILE.write_text(text, encoding="utf-8")
    assert FILE.read_text(encoding="utf-8") == text


def test_every_key_of_the_reader_is_in_it() -> None:
    schema = json.loads(json.dumps(policy_schema()))
    assert list(schema["properties"]) == list(KEYS)
    assert list(schema["$defs"]["Rule"]["properties"]) == list(RULE_KEYS)
    for mode in schema["properties"]["mode"]["enum"]:
        assert parse(f"mode: {mode}\n", Path("policy.yaml")).mode == mode
