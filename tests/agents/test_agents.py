"""Agents as files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from perdure.agents import Agents, create_agent, open_workspace, scaffold
from perdure.kernel.errors import ConfigError, Conflict, InvalidInput, NotFound, StorageError
from perdure.kernel.events import Limits


@pytest.fixture
def root(tmp_path: Path) -> Path:
    scaffold(tmp_path)
    return tmp_path


def agents(root: Path, env: dict[str, str] | None = None) -> Agents:
    return Agents(open_workspace(root, env or {}))


def write(root: Path, text: str, name: str = "default", file: str = "agent.yaml") -> None:
    """As an editor does, with a time of change of its own."""
    path = root / ".perdure/agents" / name / file
    path.parent.mkdir(parents=True, exist_ok=True)
    later = path.stat().st_mtime_ns + 1_000_000 if path.exists() else None
    path.write_text(text)
    if later:
        os.utime(path, ns=(later, later))


def spec(body: str, name: str = "default") -> str:
    return f"apiVersion: perdure/v1\nkind: Agent\nmetadata: {{name: {name}}}\nspec:\n{body}"


# Reading


def test_a_new_workspace_has_one_agent_that_needs_nothing_else(root: Path) -> None:
    agent = agents(root).get()
    assert agent.name == "default"
    assert agent.models == () and agent.model == ""
    assert agent.limits == Limits()
    assert agent.warnings == ()
    assert [t.name for t in agent.texts] == ["SOUL.md", "SYSTEM_PROMPT.md", "INSTRUCTIONS.md"]


@pytest.mark.parametrize(
    ("written", "reference", "provider", "name"),
    [
        ("anthropic/claude-x", "anthropic/claude-x", "anthropic", "claude-x"),
        ("openrouter/a/b:free", "openrouter/a/b:free", "openrouter", "a/b:free"),
        ("script:turns.yaml", "script:turns.yaml", "script", "turns.yaml"),
        ("script:/abs/t.yaml", "script:/abs/t.yaml", "script", "/abs/t.yaml"),
        ("rehearsal", "rehearsal", "rehearsal", ""),
        ("{provider: ollama, name: q}", "ollama/q", "ollama", "q"),
    ],
)
def test_a_model_is_written_short_or_in_parts(
    root: Path, written: str, reference: str, provider: str, name: str
) -> None:
    write(root, spec(f"  model: {written}\n"))
    [model] = agents(root).get().models
    assert (model.reference, model.provider, model.name) == (reference, provider, name)


def test_a_model_brings_its_settings_and_fallbacks(root: Path) -> None:
    write(
        root,
        spec(
            """
  model:
    provider: openai-chat
    name: mine
    base_url: ${BASE:-http://localhost:9}
    temperature: 0
    effort: high
    extra: {top_k: 5, nested: {a: [1, 2]}}
    fallbacks: [anthropic/x, {provider: ollama, name: y, temperature: 1}]
"""
        ),
    )
    own, second, third = agents(root).get().models
    assert (own.base_url, own.temperature, own.effort) == ("http://localhost:9", 0, "high")
    assert own.extra == {"top_k": 5, "nested": {"a": [1, 2]}}
    assert (second.reference, third.reference, third.temperature) == ("anthropic/x", "ollama/y", 1)


def test_an_agent_without_a_model_takes_the_workspaces(root: Path) -> None:
    (root / "perdure.yaml").write_text("model: anthropic/x\nbudget: {cost_usd: 2, rounds: 7}\n")
    write(root, spec("  budget: {rounds: null, seconds: 60}\n"))
    agent = agents(root).get()
    assert agent.model == "anthropic/x"
    assert agent.limits == Limits(rounds=None, cost_usd=2, seconds=60)


def test_hooks_of_the_workspace_come_before_the_agents(root: Path) -> None:
    (root / "perdure.yaml").write_text("hooks: [{on: before_tool, command: a}]\n")
    write(root, spec("  hooks: [{on: on_error, command: b}]\n"))
    assert [h.command for h in agents(root).get().hooks] == ["a", "b"]


def test_texts_may_stand_elsewhere_and_the_system_prompt_has_a_default(root: Path) -> None:
    write(root, "shared soul", file="../shared.md")
    write(root, spec("  soul: ../shared.md\n", name="bare"), name="bare")
    agent = agents(root).get("bare")
    assert [t.name for t in agent.texts] == ["SOUL.md", "SYSTEM_PROMPT.md"]
    assert agent.texts[0].text == "shared soul"
    assert "Work in steps" in agent.texts[1].text


def test_values_of_the_environment_are_put_into_texts_only(root: Path) -> None:
    text = "  model: ${A}\n  session: {collect_ms: '${MS:-250}'}\n"
    write(
        root, spec(text).replace("{name: default}", '{name: default, description: "$${A} ${E:-}"}')
    )
    agent = agents(root, {"A": "x/y: {injected: true}"}).get()
    assert agent.models[0].name == "y: {injected: true}"
    assert agent.session.collect_ms == 250
    assert agent.description == "${A} "


def test_half_a_character_from_the_environment_becomes_a_question_mark(root: Path) -> None:
    write(root, spec("").replace("{name: default}", "{name: default, description: '${D}'}"))
    assert agents(root, {"D": "a\udce9b"}).get().description == "a?b"


# Looking again


def test_a_change_is_seen_without_a_restart(root: Path) -> None:
    known = agents(root)
    before = known.get()
    assert known.get() is before
    write(root, "Another soul.", file="SOUL.md")
    after = known.get()
    assert after.texts[0].text == "Another soul."
    assert after.stamp() != before.stamp()


def test_a_text_that_the_spec_names_is_watched_too(root: Path) -> None:
    write(root, "one", file="mine.md")
    write(root, spec("  instructions: mine.md\n"))
    known = agents(root)
    assert known.get().texts[-1].text == "one"
    write(root, "two", file="mine.md")
    assert known.get().texts[-1].text == "two"


def test_a_file_that_appears_or_goes_is_seen(root: Path) -> None:
    known = agents(root)
    known.get()
    (root / ".perdure/agents/default/SOUL.md").unlink()
    assert [t.name for t in known.get().texts] == ["SYSTEM_PROMPT.md", "INSTRUCTIONS.md"]
    write(root, "back", file="SOUL.md")
    assert known.get().texts[0].text == "back"


def test_a_broken_file_keeps_the_last_good_agent_and_says_what_is_wrong(root: Path) -> None:
    known = agents(root)
    good = known.get()
    write(root, spec("  modle: x/y\n"))
    assert known.get() is good
    [entry] = known.list()
    assert entry.agent is good
    assert "agent.yaml:5: unknown key `spec.modle`" in entry.error
    write(root, spec("  model: x/y\n"))
    assert known.get().model == "x/y"
    assert known.list()[0].error == ""


def test_a_broken_text_keeps_the_last_good_agent_until_it_is_mended(root: Path) -> None:
    known = agents(root)
    good = known.get()
    write(root, "{{nonsense}}", file="SOUL.md")
    assert known.get() is good
    assert "SOUL.md:1" in known.entry("default").error
    write(root, "fine", file="SOUL.md")
    assert known.get().texts[0].text == "fine"


def test_one_bad_agent_does_not_stop_the_others(root: Path) -> None:
    write(root, "nonsense", name="bad")
    known = agents(root)
    assert known.names() == ["bad", "default"]
    assert known.get().name == "default"
    with pytest.raises(ConfigError):
        known.get("bad")
    assert [(e.name, e.agent is None) for e in known.list()] == [("bad", True), ("default", False)]


def test_reload_reads_everything_and_reports(root: Path) -> None:
    known = agents(root)
    known.get()
    write(root, spec("", name="second"), name="second")
    write(root, "nonsense", name="bad")
    (root / "perdure.yaml").write_text("default_agent: second\n")
    report = known.reload()
    assert report.agents == ("bad", "default", "second")
    assert len(report.errors) == 1 and "bad/agent.yaml" in report.errors[0]
    assert known.get().name == "second"
    (root / "perdure.yaml").write_text("nonsense: 1\n")
    assert "perdure.yaml:1" in known.reload().errors[0]
    assert known.get().name == "second"


def test_an_unknown_agent_is_answered_with_the_nearest(root: Path) -> None:
    with pytest.raises(NotFound, match="there is no agent 'defualt'") as caught:
        agents(root).get("defualt")
    assert caught.value.hint == "Did you mean default?"


@pytest.mark.parametrize(
    "name", ["../default", "default/", "default\n", "a\0b", "/etc", ".", "ä", "x" * 65]
)
def test_a_name_never_leads_out_of_the_agents_folder(root: Path, name: str) -> None:
    with pytest.raises(NotFound):
        agents(root).get(name)
    with pytest.raises(InvalidInput):
        create_agent(open_workspace(root, {}), name)


# Making


def test_what_stands_where_a_folder_must_be_is_named(tmp_path: Path) -> None:
    (tmp_path / ".perdure").mkdir()
    (tmp_path / ".perdure" / "tools").touch()
    with pytest.raises(StorageError, match="tools could not be made"):
        scaffold(tmp_path)


def test_making_a_workspace_twice_changes_nothing(root: Path) -> None:
    write(root, "mine", file="SOUL.md")
    assert scaffold(root) == ()
    assert agents(root).get().texts[0].text == "mine"


def test_a_new_agent_is_complete_and_its_name_is_taken(root: Path) -> None:
    workspace = open_workspace(root, {})
    written = create_agent(
        workspace, "butler", model="openrouter/a/b:free", description='Says "hi": # yes'
    )
    assert root / ".perdure/agents/butler/memory/MEMORY.md" in written
    agent = agents(root).get("butler")
    assert (agent.model, agent.description) == ("openrouter/a/b:free", 'Says "hi": # yes')
    with pytest.raises(Conflict):
        create_agent(workspace, "butler")


def test_a_workspace_can_be_made_with_a_model_and_another_agents_name(tmp_path: Path) -> None:
    scaffold(tmp_path / "w", agent="jeeves", model="ollama/q")
    agent = agents(tmp_path / "w").get()
    assert (agent.name, agent.model) == ("jeeves", "ollama/q")
