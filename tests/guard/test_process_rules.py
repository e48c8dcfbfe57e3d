"""What bash may not run, `process` may not run either."""

from __future__ import annotations

from pathlib import Path

from perdure.guard import Rule

from .world import lets, stops


def test_a_deny_rule_for_bash_covers_every_tool_that_runs_commands(tmp_path: Path) -> None:
    rule = Rule(tool="bash", command="git push*")
    assert stops(rule, "bash", "git push origin", (), tmp_path) is True
    assert stops(rule, "process", "git push origin", (), tmp_path) is True
    assert stops(rule, "process", "true && git push", (), tmp_path) is True
    assert stops(rule, "process", "git status", (), tmp_path) is False
    assert stops(rule, "read", None, (), tmp_path) is False


def test_an_allow_rule_for_bash_stays_with_bash(tmp_path: Path) -> None:
    rule = Rule(tool="bash", command="git status*")
    assert lets(rule, "bash", "git status", (), tmp_path)
    assert not lets(rule, "process", "git status", (), tmp_path)
