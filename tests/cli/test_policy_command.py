"""`perdure policy`: what the files say, why, and whether it is what was expected."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from perdure.cli.app import perdure
from perdure.cli.chat.conversation import Conversation
from perdure.cli.chat.region import Region
from perdure.cli.chat.start import Start
from perdure.cli.link import Link
from perdure.cli.place import Place
from perdure.runtime.views import AgentView


@pytest.fixture
def space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    root = tmp_path / "space"
    (root / ".perdure" / "agents" / "ann").mkdir(parents=True)
    (root / "perdure.yaml").write_text("kind: Workspace\ndefault_agent: ann\n")
    (root / ".perdure" / "agents" / "ann" / "agent.yaml").write_text(
        "apiVersion: perdure/v1\nkind: Agent\nmetadata: {name: ann}\n"
    )
    return root


def run(space: Path, *arguments: str) -> Result:
    return CliRunner().invoke(perdure, ["-w", str(space), *arguments], standalone_mode=False)


def write(space: Path, text: str, name: str = "policy.yaml") -> None:
    (space / ".perdure" / name).write_text(text)


def test_check_shows_mode_counts_and_warnings(space: Path) -> None:
    write(space, 'mode: dangerous\nallow: ["bash:ls"]\ndeny: [{tool: x}]\n')
    found = run(space, "policy", "check")
    assert found.return_value == 0
    assert "ann: mode dangerous (policy.yaml:1); 1 deny, 0 ask, 1 allow" in found.output
    assert "policy.yaml:2: this was found anywhere" in found.output
    assert "everything that no rule denies runs without asking" in found.output


def test_check_names_file_line_and_the_nearest_key_of_a_mistake(space: Path) -> None:
    write(space, "mode: ask\nalow: []\n")
    found = run(space, "policy", "check")
    assert found.return_value == 1
    assert "policy.yaml:2: unknown key alow" in found.output
    assert "Did you mean allow?" in found.output


def test_explain_says_which_rule_decides_and_what_the_line_runs(space: Path) -> None:
    write(
        space,
        "deny:\n  - {tool: bash, command: 'rm *'}\nallow:\n  - {tool: bash, command: 'ls *'}\n",
    )
    found = run(space, "policy", "explain", "bash", "-c", "ls; timeout 5 rm x")
    assert found.output.startswith("refused: The owner's policy denies this")
    assert "\nrules: deny: the rule {tool: bash, command: 'rm *'} at policy.yaml:2" in found.output
    assert "● deny" in found.output
    assert "run by timeout" in found.output
    unknown = run(space, "policy", "explain", "bash", '{"command": "curl x | sh"}')
    assert unknown.output.startswith("asks: ")
    assert "\nrules: ask: it cannot be told" in unknown.output
    assert "not understood: what is piped into sh is not known" in unknown.output


def test_explain_knows_paths_hosts_and_origins(space: Path) -> None:
    write(space, "deny:\n- {tool: '*', path: 'secrets/**'}\n- {tool: '*', host: evil.example}\n"
          "- {tool: write, origin: webhook}\n")  # fmt: skip

    def says(*arguments: str) -> str:
        return run(space, "policy", "explain", *arguments).output

    assert "\nrules: deny" in says("read", '{"path": "secrets/a"}')
    fetch = says("web_fetch", '{"url": "https://evil.example/x"}')
    assert fetch.startswith("refused") and "\nrules: deny" in fetch, fetch
    write_ = '{"path": "a", "content": "b"}'
    assert "\nrules: none" in says("write", write_)
    hook = says("write", write_, "--origin", "webhook")
    assert hook.startswith("refused") and "\nrules: deny" in hook


def test_explain_begins_with_what_the_gate_would_do(space: Path) -> None:
    (space / "notes.md").write_text("x")
    (space / ".perdure" / "run").mkdir()
    (space / ".perdure" / "run" / "server.json").write_text("{}")

    def says(tool: str, path: str) -> str:
        found = run(space, "policy", "explain", tool, f'{{"path": "{path}"}}')
        return str(found.output).splitlines()[0]

    assert says("read", "notes.md") == "runs: mode ask lets it"
    assert says("read", "/etc/passwd") == (
        "asks: it reads /etc/passwd, which is outside the workspace"
    )
    assert says("read", ".perdure/run/server.json").startswith("refused: ")
    assert "no tool may touch it" in says("read", ".perdure/run/server.json")
    assert says("no_tool", "x").startswith("refused: There is no tool 'no_tool'")
    write(space, "mode: restrict\n")
    assert says("read", "notes.md").startswith("refused: ")


def test_explain_holds_rules_of_always_against_the_files_as_they_are(space: Path) -> None:
    from perdure.guard.rules import covering

    script = space / "do.sh"
    script.write_text("echo a\n")
    shown = run(space, "policy", "explain", "bash", "-c", "sh do.sh").output
    assert shown.startswith("asks: it runs a command")
    content = _content(space, "sh do.sh")
    rule = covering("bash", "sh do.sh", (), space, content=content)
    write(space, f"allow: [{rule}]\n", "policy.local.yaml")
    assert run(space, "policy", "explain", "bash", "-c", "sh do.sh").output.startswith("runs: ")
    script.write_text("echo b\n")
    changed = run(space, "policy", "explain", "bash", "-c", "sh do.sh").output
    assert changed.startswith("asks: ") and "the files it runs have changed" in changed


def _content(space: Path, command: str) -> str:
    import asyncio

    from perdure.agents import open_workspace
    from perdure.runtime.foretelling import foretell

    found = asyncio.run(foretell(open_workspace(space), "ann", "bash", {"command": command}))
    assert found.seen is not None and found.seen[0].content is not None
    return found.seen[0].content()


@pytest.mark.parametrize(
    "url",
    ["https://bad.example/x", "http://127.0.0.1:9/", "http://10.0.0.7/", "https://a.example:22/"],
)
def test_explain_and_test_refuse_what_the_way_out_refuses_unasked(space: Path, url: str) -> None:
    (space / "perdure.yaml").write_text("default_agent: ann\negress: {deny: [bad.example]}\n")
    found = run(space, "policy", "explain", "web_fetch", json.dumps({"url": url}))
    assert found.output.startswith("refused: "), found.output
    write(space, f"- {{tool: web_fetch, arguments: {{url: '{url}'}}, expect: refused}}\n"
          "- {tool: web_fetch, arguments: {url: 'https://good.example/x'}, expect: asks}\n",
          "policy.tests.yaml")  # fmt: skip
    tested = run(space, "policy", "test")
    assert tested.return_value == 0, tested.output


def test_explain_of_a_bare_command_says_how_it_is_asked(space: Path) -> None:
    found = run(space, "policy", "explain", "bash", "ls -l")
    assert "perdure policy explain bash -c 'ls -l'" in str(found.exception)


def test_explain_leaves_no_trace(space: Path) -> None:
    before = sorted(space.rglob("*"))
    run(space, "policy", "explain", "bash", "-c", "touch made; ls")
    run(space, "policy", "explain", "write", '{"path": "a", "content": "b"}')
    assert sorted(space.rglob("*")) == before


def test_explain_says_why_a_rule_that_denies_or_asks_does_not_fit(space: Path) -> None:
    paths, hosts = "{tool: '*', path: 'secrets/**'}", "{tool: '*', host: evil.example}"
    deny = f"- {paths}\n- {hosts}\n- {{tool: write, origin: webhook}}\n"
    write(space, f"deny:\n{deny}ask: [{{tool: bash, command: 'git *'}}, {{tool: edit}}]\n")
    lines = run(space, "policy", "explain", "write", '{"path": "a", "content": "b"}').output
    for why in (
        "policy.yaml:2: it works on no such path",
        "policy.yaml:3: it talks to no such host",
        "policy.yaml:4: the run was started by interactive",
        "policy.yaml:5: it is about another tool",
    ):
        assert why in lines, lines
    lines = run(space, "policy", "explain", "bash", "-c", "ls").output
    assert "policy.yaml:5: no command of the line is such a one" in lines


def test_test_compares_and_shows_the_difference(space: Path) -> None:
    write(space, "allow: [{tool: bash, command: 'ls *'}]\n")
    cases = (
        '- {command: "ls -l", expect: runs}\n- {command: "rm x", expect: refused, rules: deny}\n'
    )
    write(space, cases, "policy.tests.yaml")
    found = run(space, "policy", "test")
    assert found.return_value == 1
    shown = "policy.tests.yaml:2: bash: rm x\n  - refused\n  + asks: it runs a command\n"
    assert f"{shown}  - rules: deny\n  + rules: none: mode ask\n" in found.output
    assert "1 of 2 as expected" in found.output
    other = space / "good.yaml"
    other.write_text("- {tool: write, arguments: {path: a, content: b}, expect: asks}\n")
    assert run(space, "policy", "test", str(other)).return_value == 0


def test_what_is_expected_is_held_against_the_gate_and_not_the_rules_alone(space: Path) -> None:
    write(space, "mode: auto\nallow: [{tool: write}]\n")
    secret = "{tool: write, arguments: {path: .perdure/secrets.age, content: x}"
    cases = f"- {secret}, rules: allow, expect: refused}}\n- {{command: 'ls', rules: none, expect: runs}}\n"
    write(space, cases, "policy.tests.yaml")
    found = run(space, "policy", "test")
    assert found.return_value == 0, found.output
    write(space, f"- {secret}, expect: runs}}\n", "policy.tests.yaml")
    found = run(space, "policy", "test")
    assert found.return_value == 1
    assert "holds secrets of the runtime" in found.output


@pytest.mark.parametrize(
    ("text", "words"),
    [("a: b\n", "expected a list"), ("- {command: x}\n", "needs expect"), ("- {expect: runs}\n",
    "needs a tool"),
     ("- {command: x, expect: allow}\n", "goes under rules"),
     ("- {command: x, rules: runs}\n", "rules must be"),
     ("- {comand: x, expect: runs}\n", "Did you mean command?"),
     ("- {command: x, expect: runs, origin: y}\n", "origin"),
     ("- {tool: x, arguments: [], expect: runs}\n", "must be a mapping")],
)  # fmt: skip
def test_a_mistake_in_a_file_of_cases_is_told_with_its_line(
    space: Path, text: str, words: str
) -> None:
    write(space, text, "policy.tests.yaml")
    found = run(space, "policy", "test")
    assert found.exception is not None
    assert words in str(found.exception)
    assert "policy.tests.yaml:1" in str(found.exception)


def test_the_example_of_the_guide_holds(space: Path) -> None:
    guide = (Path(__file__).parents[2] / "docs/guides/policy.md").read_text(encoding="utf-8")
    policy, cases = (block.split("```")[0] for block in guide.split("```yaml\n")[1:3])
    write(space, policy)
    write(space, cases, "policy.tests.yaml")
    found = run(space, "policy", "test")
    assert found.return_value == 0, found.output


def test_doctor_shows_mode_and_warnings(space: Path) -> None:
    write(space, "mode: dangerous\nallow: [{tool: '*'}]\n")
    found = run(space, "doctor")
    assert "ann works in mode dangerous" in found.output
    assert "policy.yaml:2: this rule allows every call of every tool" in found.output


@pytest.mark.parametrize(("mode", "shown"), [("dangerous", True), ("plan", True), ("ask", False)])
def test_the_status_line_shows_any_mode_but_the_usual_one(
    tmp_path: Path, mode: str, shown: bool
) -> None:
    start = Start(agent="ann", model="", workdir=str(tmp_path), session=None, plain=False)
    conversation = Conversation(Link(Place(root=tmp_path)), start)
    conversation.agent = AgentView(name="ann", mode=mode)
    assert (f"mode {mode}" in Region(conversation).status(80)) is shown


def test_serve_warns_of_a_dangerous_mode_as_it_starts(space: Path) -> None:
    write(space, "mode: dangerous\n")
    ran = subprocess.Popen(
        [sys.executable, "-m", "perdure", "-w", str(space), "serve"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert ran.stderr is not None
        lines = []
        for line in ran.stderr:
            lines.append(line)
            if "listening" in line:
                break
        assert any("ann is in mode dangerous" in line for line in lines), lines
    finally:
        ran.terminate()
        ran.communicate(timeout=20)
