"""An agent of Duragent is read as it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from perdure.agents import Agents, open_workspace
from perdure.kernel.errors import ConfigError

FILE = """\
apiVersion: duragent/v1alpha1
kind: Agent
metadata:
  name: helper
  description: An agent from there
  version: "1.2"
  labels: {team: home}
spec:
  model:
    provider: openrouter
    name: anthropic/claude-x
    temperature: 0.7
    max_input_tokens: 100000
    max_output_tokens: 4096
    base_url: https://example.org
  soul: ./SOUL.md
  system_prompt: ./SYSTEM_PROMPT.md
  instructions: ./INSTRUCTIONS.md
  skills_dir: ./skills
  memory: {backend: filesystem}
  session:
    on_disconnect: continue
    max_tool_iterations: 25
    llm_timeout_seconds: 120
    ttl_hours: 24
    compaction: archive
    context:
      max_history_tokens: 40000
      max_tool_result_tokens: 8000
      tool_result_truncation: head
      tool_result_keep_first: 2
      tool_result_keep_last: 5
  access: {dm: {policy: open}}
  tools: [{type: builtin, name: bash}]
  hooks: {before_tool: [{type: skip_duplicate}]}
"""


def read(tmp_path: Path, text: str, soul: str = "{{who knows}} {{whatever}}") -> Agents:
    folder = tmp_path / ".perdure/agents/helper"
    folder.mkdir(parents=True)
    (tmp_path / "perdure.yaml").write_text("")
    (folder / "agent.yaml").write_text(text)
    for name in ("SOUL.md", "SYSTEM_PROMPT.md", "INSTRUCTIONS.md"):
        (folder / name).write_text(soul)
    return Agents(open_workspace(tmp_path, {}))


def test_what_means_the_same_here_acts(tmp_path: Path) -> None:
    agent = read(tmp_path, FILE).get("helper")
    assert agent.model == "openrouter/anthropic/claude-x"
    assert agent.models[0].timeout_seconds == 120
    assert agent.models[0].max_output_tokens == 4096
    assert agent.limits.rounds == 25
    assert agent.context.window == 100_000
    assert agent.context.max_result_tokens == 8_000
    assert agent.context.keep_results == 5
    assert agent.labels == {"team": "home"}
    assert "{{whatever}}" in agent.sections({})[0].text


def test_what_has_no_effect_here_is_named_with_its_line(tmp_path: Path) -> None:
    agent = read(tmp_path, FILE).get("helper")
    named = {w.partition("`")[2].partition("`")[0] for w in agent.warnings}
    assert named == {
        "spec.skills_dir",
        "spec.access",
        "spec.tools",
        "spec.hooks",
        "spec.memory.backend",
        "spec.session.on_disconnect",
        "spec.session.ttl_hours",
        "spec.session.compaction",
        "spec.session.context.max_history_tokens",
        "spec.session.context.tool_result_truncation",
        "spec.session.context.tool_result_keep_first",
    }
    [line] = [w for w in agent.warnings if "skills_dir" in w]
    assert "agent.yaml:19: " in line


def test_a_value_that_does_not_fit_is_still_an_error_at_its_line(tmp_path: Path) -> None:
    text = FILE.replace("temperature: 0.7", "temperature: warm")
    with pytest.raises(ConfigError, match=r"agent\.yaml:12: `spec\.model\.temperature`"):
        read(tmp_path, text).get("helper")


def test_a_minimal_one_is_enough(tmp_path: Path) -> None:
    text = "apiVersion: duragent/v1alpha1\nkind: Agent\nmetadata: {name: helper}\n"
    assert read(tmp_path, text).get("helper").limits.rounds == 10
