"""Policy files are read strictly and added to without losing what a person wrote."""

from __future__ import annotations

from pathlib import Path

import pytest

from perdure.guard import PolicyFiles, Rule
from perdure.kernel.errors import ConfigError


@pytest.fixture
def policy(tmp_path: Path) -> PolicyFiles:
    (tmp_path / "agents" / "ann").mkdir(parents=True)
    return PolicyFiles(tmp_path, "ann")


def test_without_files_everything_asks(policy: PolicyFiles) -> None:
    assert policy.current().mode == "ask"


def test_the_last_mode_holds_and_rules_add_up(policy: PolicyFiles) -> None:
    workspace, agent, local = policy.files
    workspace.write_text("mode: auto\nallow: [{tool: a}]\ndeny: [{tool: b}]\n")
    agent.write_text("mode: ask\nallow:\n  - tool: c\n")
    local.write_text("deny:\n- {tool: d}\n")
    current = policy.current()
    assert current.mode == "ask"
    assert [r.tool for r in current.allow] == ["a", "c"]
    assert [(r.tool, r.where) for r in current.deny] == [
        ("b", "policy.yaml:3"),
        ("d", "policy.local.yaml:2"),
    ]


def test_a_change_takes_effect_at_once(policy: PolicyFiles) -> None:
    policy.files[0].write_text("mode: auto\n")
    assert policy.current().mode == "auto"
    policy.files[0].unlink()
    assert policy.current().mode == "ask"


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("mode: dangerus\n", 1, "Did you mean dangerous?"),
        ("mode: yolo\n", 1, "mode must be plan, restrict, ask, auto or dangerous"),
        ("mode: ask\nmod: x\n", 2, "Did you mean mode?"),
        ("mode: ask\nmode: auto\n", 2, "given twice"),
        ("allow: bash\n", 1, "list of rules"),
        ("allow:\n  - bash\n", 2, "a rule is a mapping"),
        ("allow:\n  - basj:ls\n", 2, "unknown type basj"),
        ("allow:\n  - 'bash:'\n", 2, "names nothing"),
        ("ask:\n  - {tool: x, origin: webhok}\n", 2, "Did you mean webhook?"),
        ("deny:\n  - {tool: x, arguments: {amount: {min: a}}}\n", 2, "must be a number"),
        ("deny:\n  - {tool: x, arguments: {amount: {least: 1}}}\n", 2, "Known keys: min, max"),
        ("deny:\n  - {tool: x, arguments: [a]}\n", 2, "arguments must be a mapping"),
        ("deny:\n  - {tool: x, host: []}\n", 2, "host is empty"),
        ("deny:\n  - {tool: '[z-a]'}\n", 2, "is no pattern"),
        ("expire: soon\n", 1, "expire must be a time"),
        ("apiVersion: other/v1\n", 1, "unknown apiVersion"),
        ("? [a]\n: b\n", 1, "unknown key"),
        ("allow:\n  - {tool: bash, comand: x}\n", 2, "Did you mean command?"),
        ("deny:\n  - {command: x}\n", 2, "needs a tool"),
        ("deny:\n  - {tool: bash, command: }\n", 2, "command is empty"),
        ("deny:\n  - {tool: bash, command: a, exactly: b}\n", 2, "exclude"),
        ("deny:\n  - {tool: bash, path: [a]}\n", 2, "path must be a text"),
        ("deny:\n  - {tool: read, path: '[z-a]'}\n", 2, "is no pattern"),
        ("- a\n", 1, "expected a mapping"),
        ("a: [\n", 2, "expected"),
        ("a: &x [*x]\n", 1, "unknown key a"),
        ("!!python/object/apply:os.system ['id']\n", 1, "expected a mapping"),
        ("\x00", 0, "not YAML"),
    ],
)
def test_a_mistake_is_told_with_its_line(
    policy: PolicyFiles, text: str, line: int, words: str
) -> None:
    policy.files[0].write_text(text)
    with pytest.raises(ConfigError) as caught:
        policy.current()
    assert words in str(caught.value)
    assert caught.value.line == line
    assert caught.value.file == str(policy.files[0])


def test_what_cannot_be_read_is_an_error_and_not_an_absent_policy(policy: PolicyFiles) -> None:
    policy.files[0].mkdir()
    with pytest.raises(ConfigError, match="cannot be read"):
        policy.current()
    policy.files[0].rmdir()
    policy.files[0].write_bytes(b"mode: auto # \xff\n")
    with pytest.raises(ConfigError, match="not UTF-8"):
        policy.current()


@pytest.mark.parametrize(
    "before",
    [
        "# mine\n",
        "mode: ask",
        "# mine\nmode: ask # keep\n",
        "allow:\n",
        "allow: []\n",
        "allow: [{tool: a}]  # flow\nmode: ask\n",
        "allow: [{tool: a},]\n",
        "allow:\n- tool: a\n  path: b # why\n\n# more\ndeny:\n- {tool: x}\n",
        "allow:\n    - {tool: a}\n    - tool: b\n      command: 'x # y'\n\n\nmode: auto\n",
        "deny:\n  - {tool: x}\nallow:\n  - {tool: a}",
        "{mode: ask, allow: [{tool: a}]}\n",
    ],
)
def test_a_remembered_rule_is_added_and_the_rest_kept(policy: PolicyFiles, before: str) -> None:
    policy.local.write_text(before)
    was = policy.current()
    rule = Rule(tool="bash", exactly="echo 'x' # [")
    policy.remember(str(rule))
    policy.remember(str(rule))  # twice is once
    now = policy.current()
    assert [str(r) for r in now.allow] == [*map(str, was.allow), str(rule)]
    assert (now.mode, list(map(str, now.deny))) == (was.mode, list(map(str, was.deny)))
    comments = [line.split("#")[-1] for line in before.split("\n") if "#" in line]
    assert all(comment in policy.local.read_text() for comment in comments)


@pytest.mark.parametrize("before", ["{mode: ask}\n", "mode: [\n", "nonsense: 1\n"])
def test_a_file_that_cannot_take_a_rule_is_left_alone(policy: PolicyFiles, before: str) -> None:
    policy.local.write_text(before)
    with pytest.raises(ConfigError):
        policy.remember("{tool: bash, exactly: 'x'}")
    assert policy.local.read_text() == before


def test_a_rule_that_is_none_is_not_stored(policy: PolicyFiles) -> None:
    for rule in ("", "bash", "{tool: a}\ndeny: []", "{tool: a, unknown: b}"):
        with pytest.raises(ConfigError):
            policy.remember(rule)
    assert not policy.local.exists()


def test_the_mode_of_the_local_file_is_kept(policy: PolicyFiles) -> None:
    policy.local.write_text("mode: ask\n")
    policy.local.chmod(0o600)
    policy.remember("{tool: bash, exactly: 'x'}")
    assert policy.local.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("text", ["", "\n", "  \n\n"])
def test_an_emptied_file_is_an_error_and_no_policy_without_rules(tmp_path: Path, text: str) -> None:
    files = PolicyFiles(tmp_path, "home")
    (tmp_path / "policy.yaml").write_text("mode: restrict\ndeny: [{tool: bash}]\n")
    assert files.current().mode == "restrict"
    (tmp_path / "policy.yaml").write_text(text)
    with pytest.raises(ConfigError, match="is empty"):
        files.current()
    (tmp_path / "policy.yaml").write_text("# nothing here\n")
    assert files.current().mode == "ask"


def test_a_deny_that_has_lost_its_rules_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text("deny:\n")
    with pytest.raises(ConfigError, match="deny has no rules"):
        PolicyFiles(tmp_path, "home").current()
