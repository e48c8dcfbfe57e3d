"""Rules and modes: what a policy says about a call, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perdure.guard import PolicyFiles
from perdure.guard.policy import Policy, parse, parse_rule
from perdure.guard.query import MODES, Mode, Origin, Query
from perdure.kernel.errors import ConfigError
from perdure.kernel.events import Json

WORK = Path("/home/ann/work")


@dataclass(frozen=True)
class Touched:
    path: Path
    write: bool = True


def ask(
    tool: str = "pay",
    arguments: Mapping[str, Json] | None = None,
    *,
    command: str | None = None,
    effects: Sequence[str] = ("network",),
    paths: Sequence[str] = (),
    hosts: Sequence[str] = (),
    recipients: Sequence[str] = (),
    origin: Origin = "interactive",
    provider: str = "",
    mode: Mode | None = None,
    content: str = "",
) -> Query:
    return Query(
        tool=tool,
        workdir=WORK,
        workspace=WORK,
        arguments=arguments or {},
        effects=effects,
        command=command,
        touches=[Touched(Path(p)) for p in paths],
        hosts=hosts,
        recipients=recipients,
        origin=origin,
        provider=provider,
        mode=mode,
        content=lambda: content,
        search="/usr/bin:/bin",
    )


def policy(text: str) -> Policy:
    part = parse(text, Path("policy.yaml"))
    return Policy(mode=part.mode or "ask", deny=part.deny, ask=part.ask, allow=part.allow)


def says(text: str, query: Query) -> str:
    return policy(text).weigh(query).effect


def test_deny_wins_over_ask_and_ask_over_allow() -> None:
    allow, question, deny = (
        "allow: [{tool: pay}]\n",
        "ask: [{tool: pay}]\n",
        "deny: [{tool: pay}]\n",
    )
    assert says(allow, ask()) == "allow"
    assert says(allow + question, ask()) == "ask"
    assert says(allow + question + deny, ask()) == "deny"


@pytest.mark.parametrize(
    ("mode", "reads", "writes", "allowed", "asked", "unknown"),
    [
        ("ask", "none", "none", "allow", "ask", "none"),
        ("auto", "none", "none", "allow", "ask", "ask"),
        ("restrict", "deny", "deny", "allow", "deny", "deny"),
        ("plan", "none", "deny", "deny", "deny", "deny"),
        ("dangerous", "allow", "allow", "allow", "ask", "allow"),
    ],
)
def test_what_the_modes_make_of_calls(
    mode: str, reads: str, writes: str, allowed: str, asked: str, unknown: str
) -> None:
    text = f"mode: {mode}\nallow: [{{tool: allowed}}]\nask: [{{tool: asked}}]\ndeny: [{{tool: denied}}]\n"
    assert says(text, ask("look", effects=("reads",))) == reads
    assert says(text, ask("write", effects=("writes",))) == writes
    assert says(text, ask("allowed")) == allowed
    assert says(text, ask("asked")) == asked
    assert says(text, ask("denied")) == "deny"
    assert says(text, ask("bash", command="curl x | sh")) == unknown


def test_in_restrict_a_rule_that_may_deny_denies() -> None:
    text = "mode: restrict\nallow: [{tool: bash}]\ndeny: [{tool: bash, command: 'rm *'}]\n"
    assert says(text, ask("bash", command="ls")) == "allow"
    assert says(text, ask("bash", command="$x")) == "deny"


def test_a_session_may_be_stricter_than_its_policy_and_not_wider() -> None:
    for wide in MODES:
        for mode in MODES:
            found = policy(f"mode: {wide}\n").weigh(ask(mode=mode))
            strictest = min(wide, mode, key=MODES.index)
            assert found.effect == policy(f"mode: {strictest}\n").weigh(ask()).effect


@pytest.mark.parametrize(
    ("rule", "arguments", "allowed", "denied"),
    [
        ("{amount: {max: 50}}", {"amount": 50}, True, True),
        ("{amount: {max: 50}}", {"amount": 51}, False, False),
        ("{amount: {min: 1, max: 50}}", {"amount": "20"}, True, True),
        ("{amount: {max: 50}}", {"amount": "1e9"}, False, False),
        ("{amount: {max: 50}}", {"amount": "lots"}, False, None),
        ("{amount: {max: 50}}", {"amount": True}, False, None),
        ("{amount: {max: 50}}", {"amount": [1, 60]}, False, True),
        ("{amount: {max: 50}}", {}, False, False),
        ("{currency: EUR}", {"currency": "EUR"}, True, True),
        ("{currency: EUR}", {"currency": "EURO"}, False, False),
        ("{currency: [EUR, CHF]}", {"currency": "CHF"}, True, True),
        ("{to: '*@corp.example'}", {"to": ["a@corp.example", "b@corp.example"]}, True, True),
        ("{to: '*@corp.example'}", {"to": ["a@corp.example", "b@evil.example"]}, False, True),
        ("{to: '*@corp.example'}", {"to": []}, False, False),
        ("{to: '*@corp.example'}", {"to": {"x": "a@corp.example"}}, False, None),
        ("{'card.country': DE}", {"card": {"country": "DE"}}, True, True),
        ("{'card.country': DE}", {"card": "DE"}, False, False),
        ("{dry: 'true'}", {"dry": True}, True, True),
    ],
)
def test_arguments(
    rule: str, arguments: dict[str, Json], allowed: bool, denied: bool | None
) -> None:
    text = f"[{{tool: pay, arguments: {rule}}}]\n"
    assert (says(f"allow: {text}", ask(arguments=arguments)) == "allow") is allowed
    expected = {True: "deny", False: "none", None: "ask"}[denied]
    assert says(f"deny: {text}", ask(arguments=arguments)) == expected


@pytest.mark.parametrize(
    ("hosts", "allowed", "denied"),
    [
        (["api.example.com"], True, True),
        (["API.example.com"], True, True),
        (["x.example.com"], True, True),
        (["example.com"], False, False),
        (["evil-example.com"], False, False),
        (["api.example.com", "evil.test"], False, True),
        ([], False, False),
    ],
)
def test_hosts(hosts: list[str], allowed: bool, denied: bool) -> None:
    text = "[{tool: '*', host: [api.example.com, '*.example.com']}]\n"
    assert (says(f"allow: {text}", ask(hosts=hosts)) == "allow") is allowed
    assert (says(f"deny: {text}", ask(hosts=hosts)) == "deny") is denied


def test_recipients_are_all_covered_or_one_is_caught() -> None:
    text = "[{tool: '*', recipient: ann@corp.example}]\n"
    assert says(f"allow: {text}", ask(recipients=["Ann@Corp.example"])) == "allow"
    assert says(f"allow: {text}", ask(recipients=["ann@corp.example", "x@evil.example"])) == "none"
    assert says(f"allow: {text}", ask()) == "none"
    assert says(f"deny: {text}", ask(recipients=["x@y.example", "ann@corp.example"])) == "deny"


def test_a_pattern_of_a_commands_text_as_an_argument_allows_nothing() -> None:
    text = "allow: [{tool: bash, arguments: {command: 'ls*'}}]\n"
    for command in ("ls", "ls; id"):
        asked = ask("bash", {"command": command}, command=command)
        assert says(text, asked) == "none"
        assert says(text.replace("allow", "deny"), asked) == "deny"
    exact = ask("bash", {"command": "ls; id"}, command="ls; id")
    assert says("allow: [{tool: bash, arguments: {command: 'ls; id'}}]\n", exact) == "allow"


def test_the_origin_of_the_run() -> None:
    text = "allow: [{tool: pay, origin: interactive}]\ndeny: [{tool: pay, origin: [webhook, gateway]}]\n"
    found = {
        o: says(text, ask(origin=o)) for o in ("interactive", "schedule", "webhook", "gateway")
    }  # type: ignore[arg-type]
    assert found == {
        "interactive": "allow",
        "schedule": "none",
        "webhook": "deny",
        "gateway": "deny",
    }


def test_a_rule_may_hold_for_the_content_of_the_files_it_runs() -> None:
    text = "allow: [{tool: bash, exactly: ./x.sh, content: abc}]\n"
    assert says(text, ask("bash", command="./x.sh", content="abc")) == "allow"
    assert says(text, ask("bash", command="./x.sh", content="def")) == "none"


def test_attack_15_a_rule_for_a_program_is_none_for_another_of_its_name(tmp_path: Path) -> None:
    tool = tmp_path / "ls"
    tool.write_text("")
    tool.chmod(0o755)
    here = policy("allow: [{tool: bash, command: 'ls *'}]\n")

    def weighed(command: str, search: str, rules: Policy = here) -> str:
        found = Query(
            tool="bash", workdir=tmp_path, workspace=tmp_path, command=command, search=search
        )
        return rules.weigh(found).effect

    assert weighed("ls -l", "/usr/bin:/bin") == "allow"
    assert weighed("./ls -l", "/usr/bin:/bin") == "none"
    assert weighed("ls -l", f"{tmp_path}:/usr/bin:/bin") == "none"
    assert weighed("ls -l", ".:/usr/bin:/bin") == "none"
    assert weighed("ls -l", "/nowhere") == "none"
    named = policy(f"allow: [{{tool: bash, command: '{tool} *'}}]\n")
    assert weighed("ls -l", f"{tmp_path}:/usr/bin:/bin", named) == "allow"
    assert weighed("ls -l", "/usr/bin:/bin", named) == "none"


def test_several_rules_cover_a_line_together() -> None:
    text = "allow:\n- {tool: bash, command: 'cat *'}\n- {tool: bash, command: 'sort *'}\n"
    found = policy(text).weigh(ask("bash", command="cat a | sort"))
    assert found.effect == "allow"
    assert "policy.yaml:2 and" in found.reason
    assert says(text, ask("bash", command="cat a | sort | tee b")) == "none"
    granted = policy("allow: [{tool: bash, command: 'cat *'}]\n").weigh(
        ask("bash", command="cat a | sort"), [parse_rule("{tool: bash, command: 'sort*'}")]
    )
    assert granted.effect == "allow"


def test_the_trace_tells_of_every_rule() -> None:
    text = (
        "deny: [{tool: x}]\nask: [{tool: y}]\n"
        "allow:\n- {tool: pay, origin: webhook}\n- {tool: pay}\n- {tool: z}\n"
    )
    found = policy(text).weigh(ask(), full=True)
    assert [(s.kind, s.fits) for s in found.trace] == [
        ("deny", "no"), ("ask", "no"), ("allow", "no"), ("allow", "yes"), ("allow", "no"), ("mode", "yes"),
    ]  # fmt: skip
    assert found.trace[2].why == "the run was started by interactive"
    for query in (ask(), ask("bash", command="ls; $x"), ask("x")):
        assert policy(text).weigh(query, full=True).effect == policy(text).weigh(query).effect


# Duragent's ---------------------------------------------------------------------------------------


def test_a_duragent_rule_that_allows_is_anchored_and_said_to_be() -> None:
    text = 'apiVersion: duragent/v1alpha1\nkind: Policy\nmode: ask\nallow: ["bash:ls", "bash:git status*"]\n'
    part = parse(text, Path("policy.yaml"))
    assert str(part.warnings[0]).startswith("policy.yaml:4: this was found anywhere")
    assert len(part.warnings) == 2
    assert says(text, ask("bash", command="ls")) == "allow"
    assert says(text, ask("bash", command="git status --short")) == "allow"
    for command in ("curl x | sh # tools", "false; ls; id", "ls -l", "x ls"):
        assert says(text, ask("bash", command=command)) == "none", command


def test_a_duragent_rule_that_denies_keeps_its_reach() -> None:
    text = (
        'deny: ["bash:rm -rf", "*:*secret*", "mcp:git*:delete*", "builtin:web_*", "cli:deploy*"]\n'
    )
    assert parse(text, Path("p.yaml")).warnings == ()
    assert says(text, ask("bash", command="cd x && rm -rf y")) == "deny"
    assert says(text, ask("bash", command="r''m  -rf y")) == "deny"
    assert says(text, ask("bash", command="cat secrets")) == "deny"
    assert says(text, ask("read_secrets")) == "deny"
    assert says(text, ask("delete_repo", provider="mcp:github")) == "deny"
    assert says(text, ask("delete_repo", provider="mcp:notes")) == "none"
    assert says(text, ask("web_fetch")) == "deny"
    assert says(text, ask("deploy", provider="cli")) == "deny"
    assert says(text, ask("bash", command="ls")) == "none"


def test_duragent_keys_are_read_and_what_is_not_acted_on_is_said() -> None:
    text = (
        "apiVersion: duragent/v1alpha1\nkind: Policy\nmode: restrict\nnotify:\n  enabled: true\n"
        '  patterns: ["bash:rm *"]\n  deliveries: [{type: log}]\n'
    )
    part = parse(text, Path("policy.yaml"))
    assert (part.mode, part.duragent) == ("restrict", True)
    assert "nothing is sent" in str(part.warnings[0])
    silent = parse("apiVersion: agnx/v1alpha1\n", Path("policy.yaml"))
    assert "here it is ask" in str(silent.warnings[0])


# Tiers --------------------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path: Path) -> PolicyFiles:
    (tmp_path / "agents" / "ann").mkdir(parents=True)
    return PolicyFiles(tmp_path, "ann")


def test_dangerous_counts_in_the_workspace_file_only(files: PolicyFiles) -> None:
    workspace, agent, local = files.files
    workspace.write_text("mode: dangerous\n")
    assert files.current().mode == "dangerous"
    assert "mode dangerous" in str(files.current().warnings[0])
    agent.write_text("mode: plan\n")
    assert files.current().mode == "plan"
    for file in (agent, local):
        workspace.write_text("mode: ask\n")
        file.write_text("# mine\nmode: dangerous\n")
        with pytest.raises(ConfigError, match="the workspace's") as caught:
            files.current()
        assert (caught.value.file, caught.value.line) == (str(file), 2)
        file.unlink()


def test_duragents_dangerous_in_an_agents_folder_is_read_as_ask(files: PolicyFiles) -> None:
    files.files[1].write_text("apiVersion: duragent/v1alpha1\nkind: Policy\nmode: dangerous\n")
    assert files.current().mode == "ask"
    assert "read as ask" in str(files.current().warnings[0])


def test_a_wider_mode_further_down_is_said(files: PolicyFiles) -> None:
    files.files[0].write_text("mode: restrict\n")
    files.files[1].write_text("mode: auto\n")
    assert files.current().mode == "auto"
    assert "wider than mode restrict at policy.yaml:1" in str(files.current().warnings[0])


def test_rules_that_allow_everything_are_said(files: PolicyFiles) -> None:
    files.files[0].write_text(
        "allow:\n- {tool: '*'}\n- {tool: bash}\n- {tool: bash, command: '*'}\n"
    )
    assert [w.where for w in files.current().warnings] == [f"policy.yaml:{n}" for n in (2, 3, 4)]


# Whatever is written -------------------------------------------------------------------------------

WORDS = st.sampled_from(
    ["mode", "allow", "deny", "ask", "tool", "command", "path", "arguments", "host", "origin", ":", ": ",
    "- ", "\n", "  ",
     "{", "}", "[", "]", ",", "'", '"', "*", "&a ", "*a", "bash:ls", "mcp:", "dangerous", "auto",
     "!!python/name:x ", "#",
     "min", "1e9", "|\n", ">\n", "---\n", "\t", "\0", "é", "? ", "<<: ", "null", "~", "exactly",
     "interactive", "[z-a]"]
)  # fmt: skip


@settings(max_examples=500, deadline=None)
@given(st.lists(WORDS, max_size=30).map("".join) | st.text(max_size=60))
def test_a_policy_file_is_read_or_refused_and_what_is_read_can_be_weighed(text: str) -> None:
    try:
        part = parse(text, Path("policy.yaml"))
    except ConfigError:
        return
    found = Policy(deny=part.deny, ask=part.ask, allow=part.allow)
    for query in (ask(), ask("bash", command="ls; $x > a"), ask(hosts=["a"], paths=["/x"])):
        assert found.weigh(query).effect in ("allow", "deny", "ask", "none")
    for rule in (*part.deny, *part.ask, *part.allow):
        if not rule.anywhere and not rule.provider:
            assert str(parse_rule(str(rule))) == str(rule)


def test_what_trips_the_judge_up_is_denied() -> None:
    class Broken(dict[str, Json]):
        def __contains__(self, key: object) -> bool:
            raise RuntimeError("no")

    text = "allow: [{tool: pay, arguments: {a: b}}]\n"
    assert says(text, ask(arguments=Broken(a="b"))) == "deny"
