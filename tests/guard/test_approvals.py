"""What a question says and offers, what an answer covers, and what frees a call from being asked about."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from enum import Enum
from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypeAliasType

from perdure.guard import binding, scripts
from perdure.guard.flow import Finding
from perdure.guard.shell import Parsed
from perdure.kernel.events import (
    Json,
    MessageId,
    MessageReceived,
    MessagesTaken,
    Record,
    Source,
    Text,
    ToolCall,
    ToolResult,
    TurnId,
    TurnStarted,
)
from perdure.kernel.events import Limits as TurnLimits
from perdure.kernel.labels import OWNER, SELF, UNKNOWN, Label
from perdure.kernel.ports import Ask, Refuse
from perdure.tools import CORE_TOOLS, Tool, ToolContext, ok
from perdure.tools.base import Sink
from perdure.tools.critical import selecting
from perdure.tools.http_request import HttpRequest
from perdure.tools.web_search import WebSearch

from .world import World, yes

EVE = Finding(
    verdict="ask",
    reason="to[0] eve@evil.example comes from web:example.org",
    destination="mail to eve@evil.example",
    sources=(
        Source(
            argument="to", value="eve@evil.example", origin="from web:example.org", endorsed=False
        ),
    ),
    endorses=("eve@evil.example",),
    label=Label(origins=("web:example.org",)),
)
TAINTED = Label(trust="third_party", secrecy="private", origins=("web:example.org",))


# What is offered ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("label", "offers"),
    [
        (OWNER, ("once", "session", "always")),
        (SELF, ("once", "session", "always")),
        (TAINTED, ("once",)),
        (UNKNOWN, ("once",)),
        (Label(trust="known"), ("once",)),
    ],
)
async def test_rules_are_offered_only_while_nobody_else_has_written_into_the_context(
    world: World, label: Label, offers: tuple[str, ...]
) -> None:
    world.gate = world.open(finding=Finding(verdict="free"))
    request = await world.asked("bash", {"command": "ls"}, label=label)
    assert request.offers == offers
    assert bool(request.rule) == ("always" in offers)


async def test_what_is_typed_into_a_program_is_asked_about_each_time(world: World) -> None:
    world.gate = world.open(finding=Finding(verdict="free"))
    starting = await world.asked("process", {"action": "start", "command": "touch SENT"})
    assert starting.offers == ("once", "session", "always") and starting.rule
    send: dict[str, Json] = {"action": "send", "id": "p1", "text": "touch SENT"}
    request = await world.asked("process", send)
    assert (request.offers, request.rule) == (("once",), "")


async def test_a_rule_for_starting_a_process_lets_nothing_be_typed_into_one(world: World) -> None:
    world.gate = world.open(finding=Finding(verdict="free"))
    start: dict[str, Json] = {"action": "start", "command": "touch SENT"}
    rule = (await world.asked("process", start)).rule
    assert "arguments: {action: start}" in rule
    assert await world.says("process", start, grants=[rule]) == "allow"
    send: dict[str, Json] = {"action": "send", "id": "p1", "text": "touch SENT"}
    assert await world.says("process", send, grants=[rule]) == "ask"


async def test_a_rule_for_commands_covers_typing_only_where_it_names_into_which_program(
    world: World,
) -> None:
    """Also one that was stored before, or written by hand, without the action."""
    world.gate = world.open(finding=Finding(verdict="free"))
    send: dict[str, Json] = {"action": "send", "id": "p1", "text": "touch SENT"}
    for rule in ("{tool: process, exactly: touch SENT}", "{tool: process, command: 'touch*'}"):
        assert await world.says("process", send, grants=[rule]) == "ask"
        named = rule.replace("}", ", arguments: {id: p1}}")
        assert await world.says("process", send, grants=[named]) == "allow"
        assert await world.says("process", {**send, "id": "p2"}, grants=[named]) == "ask"


class Entry(BaseModel):
    text: str
    public: bool = False


class Notes(Tool):
    """Keeps notes."""

    effects = frozenset({"writes"})
    action: Literal["add", "erase"]
    text: str = ""
    forced: bool = False
    depth: Literal[1, 2] | None = 1
    entries: list[Entry] | None = None

    async def execute(self, context: ToolContext) -> ToolResult:
        return ok("noted")


class Diary(Notes):
    """Keeps a diary."""

    selects = ("action",)


@pytest.mark.parametrize(
    ("tool", "arguments", "rule", "others"),
    [
        (
            "diary",
            {"action": "add", "forced": True},
            "{tool: diary, arguments: {action: add}}",
            [{"action": "erase"}, {"action": "erase", "forced": True}],
        ),
        ("notes", {"action": "add"}, "", []),
        ("notes", {"action": "add", "entries": []}, "", []),
    ],
)
async def test_a_rule_holds_for_the_action_that_was_asked_about(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    tool: str,
    arguments: dict[str, Json],
    rule: str,
    others: list[dict[str, Json]],
) -> None:
    monkeypatch.setattr("tests.guard.world.CORE_TOOLS", (*CORE_TOOLS, Notes, Diary))
    world.gate = world.open(finding=Finding(verdict="free"))
    request = await world.asked(tool, arguments)
    assert request.rule == rule
    assert request.offers == (("once", "session", "always") if rule else ("once",))
    if rule:
        assert await world.says(tool, arguments, grants=[rule]) == "allow"
    for other in others:
        assert await world.says(tool, other, grants=[rule]) == "ask"


class Sweep(Tool):
    """Sweeps a folder."""

    effects = frozenset({"writes"})
    really: bool = False
    mode: Literal["soft", "hard"] = "soft"
    depth: Literal[1, 2] = 1
    note: str = ""

    async def execute(self, context: ToolContext) -> ToolResult:
        return ok("swept")


async def test_undeclared_every_choice_of_few_counts(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for a tool that is tried out first, and then run in earnest."""
    monkeypatch.setattr("tests.guard.world.CORE_TOOLS", (*CORE_TOOLS, Sweep))
    world.gate = world.open(finding=Finding(verdict="free"))
    rule = (await world.asked("sweep", {"note": "x"})).rule
    assert rule == "{tool: sweep, arguments: {really: 'false', mode: soft, depth: '1'}}"
    assert await world.says("sweep", {"note": "y", "depth": 1}, grants=[rule]) == "allow"
    more: list[dict[str, Json]] = [{"really": True}, {"mode": "hard"}, {"depth": 2}]
    for other in more:
        assert await world.says("sweep", other, grants=[rule]) == "ask"


Act = TypeAliasType("Act", Literal["add", "erase"])
Flag = TypeAliasType("Flag", bool)


class Kind(Enum):
    ONE = "one"


class Way(BaseModel):
    how: Act | None = None
    then: list[Way] = []


class Odd(Tool):
    """Says its choices in every way there is."""

    effects = frozenset({"writes"})
    act: Act = "add"
    flag: Annotated[Flag, Field(alias="its_flag")] = False
    kinds: dict[str, tuple[int, Kind]] = Field(default={})
    way: Way | str = ""
    only: Literal["x"] = "x"
    text: str = ""
    number: Annotated[int, Field(ge=0, le=9)] = 0
    texts: list[str] | None = None
    anything: dict[str, Json] = Field(default={})


async def test_a_choice_of_few_is_one_however_its_type_is_spelt(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert selecting(Odd) == ("act", "its_flag", "kinds", "way", "only")
    monkeypatch.setattr("tests.guard.world.CORE_TOOLS", (*CORE_TOOLS, Erasing))
    world.gate = world.open(finding=Finding(verdict="free"))
    rule = (await world.asked("erasing", {"act": "add"})).rule
    assert rule == "{tool: erasing, arguments: {act: add}}"
    assert await world.says("erasing", {"act": "erase"}, grants=[rule]) == "ask"


class Erasing(Tool):
    """Adds or erases."""

    effects = frozenset({"writes"})
    act: Act

    async def execute(self, context: ToolContext) -> ToolResult:
        return ok("done")


class Opaque:
    """Of what no schema can be made."""


class Unsaid(Tool):
    """Takes what has no schema."""

    effects = frozenset({"writes"})
    model_config = ConfigDict(arbitrary_types_allowed=True)
    what: Opaque | None = None
    text: str = ""


def test_where_there_is_no_schema_every_argument_decides() -> None:
    assert selecting(Unsaid) == ("what", "text")


class Switch(Tool):
    """Turns something."""

    effects = frozenset({"writes"})
    on: bool = False
    level: Literal[1, 2] = 1
    label: str = Field(default="", alias="name")

    async def execute(self, context: ToolContext) -> ToolResult:
        return ok("turned")


@pytest.mark.parametrize(
    ("rule", "given"),
    [
        ("{on: 'true'}", {"on": True}),
        ("{on: 'true'}", {"on": "yes"}),
        ("{on: 'true'}", {"on": 1}),
        ("{on: 'true'}", {"on": "ON"}),
        ("{name: boiler}", {"name": "boiler"}),
        ("{name: boiler}", {"label": "boiler"}),
    ],
)
async def test_a_denied_argument_is_denied_however_it_is_spelt(
    world: World, monkeypatch: pytest.MonkeyPatch, rule: str, given: dict[str, Json]
) -> None:
    monkeypatch.setattr("tests.guard.world.CORE_TOOLS", (*CORE_TOOLS, Switch))
    world.gate = world.open(finding=Finding(verdict="free"))
    world.write_policy(f"mode: auto\ndeny: [{{tool: switch, arguments: {rule}}}]\n")
    assert await world.says("switch", given) == "refuse"
    assert await world.says("switch", {"on": False, "name": "lamp"}) == "allow"


async def test_one_question_looks_at_the_scripts_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it shows, what its answer covers and what its rule holds are the same."""
    looked: list[str] = []

    def counted(parsed: Parsed, workdir: Path, **more: str | None) -> scripts.Scripts:
        looked.append(parsed.text)
        return real(parsed, workdir, **more)

    real = scripts.scripts_of
    monkeypatch.setattr(scripts, "scripts_of", counted)
    (world.workdir / "job").write_text("good\n")
    request = await world.asked("bash", {"command": "bash job"})
    assert "content:" in request.rule and looked == ["bash job"]


def test_no_two_sets_of_scripts_have_one_digest() -> None:
    """Where one ends and the next begins counts."""
    two = scripts.Scripts(bound={"a": b"1", "b": b"2"})
    one = scripts.Scripts(bound={"a": b"1b\0002"})
    assert two.digest(named=True) != one.digest(named=True)


def test_what_selects_must_be_an_argument() -> None:
    with pytest.raises(TypeError, match="selects names 'what'"):
        type("Odd", (Tool,), {"__doc__": "Odd.", "selects": ("what",)})


class Mail(Tool):
    """Sends mail."""

    effects = frozenset({"network"})
    sink = Sink(kind="send", critical={"to": "recipient", "subject": "text"})
    to: str
    subject: str = ""

    async def execute(self, context: ToolContext) -> ToolResult:
        return ok("sent")


@pytest.mark.parametrize(
    ("tool", "arguments", "rule"),
    [
        (
            "web_fetch",
            {"url": "https://Example.org:443/a?b"},
            "{tool: web_fetch, host: example.org}",
        ),
        ("web_fetch", {"url": "http://[::1]/"}, "{tool: web_fetch, host: '::1'}"),
        (
            "http_request",
            {"url": "https://api.example/x"},
            "{tool: http_request, arguments: {method: GET}, host: api.example}",
        ),
        (
            "http_request",
            {"url": "https://api.example/x", "method": "HEAD"},
            "{tool: http_request, arguments: {method: HEAD}, host: api.example}",
        ),
        ("http_request", {"url": "https://api.example/x", "method": "POST"}, ""),
        ("http_request", {"url": "https://api.example/x", "method": "DELETE"}, ""),
        ("http_request", {"url": "https://api.example/x", "body": {"a": 1}}, ""),
        ("web_search", {"query": "x"}, ""),
        ("post", {"to": "x"}, ""),
        ("buy", {}, ""),
        ("mail", {"to": "ann@x.example"}, "{tool: mail, recipient: 'ann@x.example'}"),
        (
            "mail",
            {"to": "ann@x.example", "subject": "a*"},
            "{tool: mail, arguments: {subject: 'a[*]'}, recipient: 'ann@x.example'}",
        ),
        ("mail", {"to": "ann@x.example", "subject": "a" * 201}, ""),
    ],
)
async def test_a_rule_for_what_acts_outside_names_whom_it_reaches_or_is_not_offered(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    tool: str,
    arguments: dict[str, Json],
    rule: str,
) -> None:
    more = (*CORE_TOOLS, HttpRequest, WebSearch, Mail)
    monkeypatch.setattr("tests.guard.world.CORE_TOOLS", more)
    world.gate = world.open(finding=Finding(verdict="free"))
    request = await world.asked(tool, arguments)
    assert request.rule == rule
    assert request.offers == (("once", "session", "always") if rule else ("once",))
    if rule:
        assert await world.says(tool, arguments, grants=[rule]) == "allow"
        url = {"url": "https://other.example/"}
        other = {**arguments, **(url if "url" in arguments else {"to": "eve@evil.example"})}
        assert await world.says(tool, other, grants=[rule]) == "ask"
    if rule and tool == "http_request":
        post = {**arguments, "method": "POST"}
        assert await world.says(tool, post, grants=[rule]) == "ask"


async def test_a_question_about_data_offers_to_vouch_for_it_first_and_no_rule(world: World) -> None:
    world.gate = world.open(finding=EVE)
    request = await world.asked("post", {"to": "eve@evil.example"})
    assert request.offers == ("data", "once")
    assert (request.rule, request.endorses) == ("", ("eve@evil.example",))
    assert (request.destination, request.label) == (EVE.destination, EVE.label)
    assert request.sources == EVE.sources
    assert EVE.reason in request.reason


async def test_without_values_to_vouch_for_only_this_call_can_be_allowed(world: World) -> None:
    world.gate = world.open(finding=Finding(verdict="ask", reason="it runs what was fetched"))
    assert (await world.asked("post", {"to": "x"})).offers == ("once",)


async def test_a_question_expires_after_seven_days(world: World) -> None:
    request = await world.asked("bash", {"command": "ls"})
    assert request.expires is not None
    left = request.expires - datetime.now(UTC)
    assert timedelta(days=6, hours=23) < left <= timedelta(days=7)


async def test_a_preview_that_is_cut_says_so_in_a_field_of_its_own(world: World) -> None:
    long = await world.asked("write", {"path": "a", "content": "x\n" * 20_000})
    short = await world.asked("write", {"path": "a", "content": "[… 9 more characters]"})
    assert (long.cut, short.cut) == (True, False)
    assert len(long.preview) < 21_000


# What frees a call --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "policy", ["mode: auto\n", "mode: ask\nallow: [{tool: post}]\n", "allow: [{tool: '*'}]\n"]
)
async def test_where_flow_asks_no_mode_and_no_rule_for_the_tool_frees(
    world: World, policy: str
) -> None:
    world.write_policy(policy)
    world.gate = world.open(finding=EVE)
    assert await world.says("post", {"to": "eve@evil.example"}) == "ask"
    assert await world.says("post", {"to": "eve@evil.example"}, grants=["{tool: post}"]) == "ask"


async def test_values_that_are_vouched_for_free_a_call_that_the_policy_allows(world: World) -> None:
    world.gate = world.open(finding=EVE)
    request = await world.asked("post", {"to": "eve@evil.example"})
    given = yes(request, "data")
    # Judged anew: the values are right, and the policy still wants to be asked.
    again = await world.judge(
        "post", {"to": "eve@evil.example"}, decided=given, endorsed=EVE.endorses
    )
    assert isinstance(again, Ask) and again.request.offers[0] == "once"
    world.write_policy("mode: auto\n")
    again = await world.judge(
        "post", {"to": "eve@evil.example"}, decided=given, endorsed=EVE.endorses
    )
    assert (await world.run(again)).status == "ok"


async def test_vouching_for_data_is_no_approval_of_the_call(world: World) -> None:
    world.gate = world.open(finding=EVE)
    request = await world.asked("post", {"to": "eve@evil.example"})
    assert (
        await world.says("post", {"to": "eve@evil.example"}, decided=yes(request, "data")) == "ask"
    )


async def test_an_exact_approval_frees_this_call_and_no_other(world: World) -> None:
    world.gate = world.open(finding=EVE)
    request = await world.asked("post", {"to": "eve@evil.example"})
    same = await world.says("post", {"to": "eve@evil.example"}, decided=yes(request))
    other = await world.says("post", {"to": "eve2@evil.example"}, decided=yes(request))
    assert (same, other) == ("allow", "ask")


async def test_what_flow_denies_no_approval_and_no_rule_allows(world: World) -> None:
    world.write_policy("mode: auto\nallow: [{tool: '*'}]\n")
    world.gate = world.open(finding=EVE)
    asked = await world.asked("post", {"to": "x"})
    world.gate = world.open(finding=Finding(verdict="deny", reason="a secret would leave"))
    verdict = await world.judge("post", {"to": "x"}, decided=yes(asked))
    assert isinstance(verdict, Refuse)
    assert "a secret would leave" in verdict.result.text


@pytest.mark.parametrize("mode", ["plan", "restrict"])
async def test_in_modes_that_ask_nothing_what_would_be_asked_is_refused(
    world: World, mode: str
) -> None:
    world.write_policy(f"mode: {mode}\nallow: [{{tool: post}}]\n")
    world.gate = world.open(finding=EVE)
    for tool, arguments in (
        ("post", {"to": "eve@evil.example"}),
        ("read", {"path": "/etc/passwd"}),
    ):
        assert await world.says(tool, {**arguments}) == "refuse"


async def test_in_mode_dangerous_only_denials_are_left(world: World) -> None:
    world.write_policy("mode: dangerous\ndeny: [{tool: buy}]\n")
    world.gate = world.open(finding=EVE)
    assert await world.says("post", {"to": "eve@evil.example"}) == "allow"
    assert await world.says("write", {"path": ".git/hooks/x", "content": ""}) == "allow"
    assert await world.says("buy") == "refuse"
    assert await world.says("write", {"path": "../perdure.yaml", "content": ""}) == "refuse"
    assert await world.says("read", {"path": "../.perdure/run/server.json"}) == "refuse"
    world.gate = world.open(finding=Finding(verdict="deny", reason="a secret would leave"))
    assert await world.says("post", {"to": "eve@evil.example"}) == "refuse"


async def test_a_rule_that_names_the_very_recipient_frees_what_is_asked_about_it(
    world: World,
) -> None:
    rule = "{tool: post, arguments: {to: [eve@evil.example]}}"
    world.write_policy(f"allow: [{rule}]\n")
    world.gate = world.open(finding=EVE)
    assert await world.says("post", {"to": "eve@evil.example"}) == "allow"
    world.write_policy("allow: [{tool: post, arguments: {to: ['*@evil.example']}}]\n")
    assert await world.says("post", {"to": "eve@evil.example"}) == "ask"


RUNS = Finding(verdict="ask", reason="the command comes from web:x", endorses=("bash command: x",))


@pytest.mark.parametrize(("command", "says"), [("ls -l", "allow"), ("sh job.sh", "ask")])
async def test_a_command_granted_to_the_letter_stays_granted_unless_it_runs_what_it_does_not_show(
    world: World, command: str, says: str
) -> None:
    (world.workdir / "job.sh").write_text("true\n")
    request = await world.asked("bash", {"command": command})
    world.gate = world.open(finding=RUNS)
    assert await world.says("bash", {"command": command}, grants=[request.rule]) == says
    by_hand = f"{{tool: bash, exactly: '{command}'}}"  # holds for whatever it would run by then
    assert await world.says("bash", {"command": command}, grants=[by_hand]) == "ask"


async def test_a_grant_holds_for_the_program_that_was_there(world: World, tmp_path: Path) -> None:
    early, late = tmp_path / "early", tmp_path / "late"
    for folder in (early, late):
        folder.mkdir()
    (late / "frobnicate").write_text("#!/bin/sh\n")
    (late / "frobnicate").chmod(0o755)
    world.environment["PATH"] = f"{early}:{late}:/usr/bin:/bin"
    world.gate = world.open()
    rule = (await world.asked("bash", {"command": "frobnicate"})).rule
    assert await world.says("bash", {"command": "frobnicate"}, grants=[rule]) == "allow"
    (late / "frobnicate").write_text("#!/bin/sh\nevil\n")
    assert await world.says("bash", {"command": "frobnicate"}, grants=[rule]) == "ask"
    (late / "frobnicate").write_text("#!/bin/sh\n")
    (early / "frobnicate").symlink_to(late / "frobnicate")
    assert await world.says("bash", {"command": "frobnicate"}, grants=[rule]) == "ask"


async def test_an_approval_serves_one_run(world: World) -> None:
    request = await world.asked("write", {"path": "a", "content": "x"})
    arguments = {"path": "a", "content": "x"}
    first = await world.judge("write", {**arguments}, decided=yes(request), key="k1")
    assert (await world.run(first)).status == "ok"
    (world.workdir / "a").unlink()  # as it was when it was approved
    again = await world.judge("write", {**arguments}, decided=yes(request), key="k2")
    assert isinstance(again, Ask) and "used before" in again.request.reason


async def test_a_model_that_goes_round_in_circles_is_told_so(world: World) -> None:
    class Circles:
        fed = 0

        def feed(self, record: Record) -> None:
            self.fed += 1

        def weigh(self, call: ToolCall) -> str:
            return "Three times the same." if call.name == "look" else ""

        def ran(self, call: ToolCall, result: ToolResult) -> str:
            return "And again."

    circles = Circles()
    world.gate = world.open(loops=circles)
    verdict = await world.judge("look")
    assert isinstance(verdict, Refuse) and verdict.result.text == "Three times the same."
    (world.workdir / "a").write_text("one\n")
    read = await world.run(await world.judge("read", {"path": "a"}))
    assert read.text.endswith("[And again.]")
    world.gate.feed(record(1, said("m1", "terminal")))
    assert circles.fed == 1


async def test_a_call_that_cannot_be_judged_is_refused_and_says_why(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.write_policy("mode: auto\nallow: [{tool: '*'}]\n")

    def broken(*_: object, **__: object) -> Finding:
        raise RecursionError("too deep")

    world.gate._flow.weigh = broken  # type: ignore[method-assign]
    verdict = await world.judge("look")
    assert isinstance(verdict, Refuse)
    assert "could not be judged (RecursionError: too deep)" in verdict.result.text


@pytest.mark.parametrize(
    "command",
    [
        "cat ../.perdure/run/server.json",
        "cat < ../.perdure/run/server.json",
        "cat /proc/1/environ",
        "cat link",
        "echo 'mode: dangerous' > ../.perdure/policy.yaml",
        "echo x | tee -a ../perdure.yaml",
        "cp a ../.perdure/agents/ann/SOUL.md",
        "true && mv a ../.perdure/hooks/x.py",
        "sh -c 'rm -r ../.perdure'",
    ],
)
async def test_a_command_that_says_it_works_on_the_runtimes_own_files_is_refused(
    world: World, command: str
) -> None:
    (world.workdir / "link").symlink_to("../.perdure/run/server.json")
    world.write_policy("mode: dangerous\nallow: [{tool: '*'}]\n")
    assert await world.says("bash", {"command": command}) == "refuse"


@pytest.mark.parametrize(
    "command",
    [
        "cat ../.perdure/agents/ann/SOUL.md",
        "cat ../.perdure/policy.yaml",
        "echo x > ../a 2>&1",
        "ls ../.perdure",
    ],
)
async def test_other_files_are_the_policys_business(world: World, command: str) -> None:
    world.write_policy("mode: auto\n")
    assert await world.says("bash", {"command": command}) == "allow"


# What an approval rests on ------------------------------------------------------------------------


async def test_the_question_says_what_changed(world: World) -> None:
    path = world.workdir / "a"
    path.write_text("one\n")
    arguments = {"path": "a", "old_string": "one", "new_string": "two"}
    request = await world.asked("edit", {**arguments})
    path.write_text("one, and more\n")
    again = await world.judge("edit", {**arguments}, decided=yes(request))
    assert isinstance(again, Ask)
    assert again.request.reason.endswith(f"changed since the approval: {path}")


async def test_an_approved_command_is_void_in_another_environment(world: World) -> None:
    request = await world.asked("bash", {"command": "ls"})
    world.environment["TERM"] = "another"  # says nothing to a command without a terminal
    world.gate = world.open()
    assert await world.says("bash", {"command": "ls"}, decided=yes(request)) == "allow"
    for name, value in (("LANG", "x"), ("LC_NEW", ""), ("PATH", "/elsewhere")):
        world.environment = {**world.commands.environment, name: value}
        world.gate = world.open()
        assert await world.says("bash", {"command": "ls"}, decided=yes(request)) == "ask", name


async def test_an_approval_is_void_in_a_folder_put_in_the_place_of_the_one_shown(
    world: World,
) -> None:
    request = await world.asked("bash", {"command": "ls"})
    world.workdir.rename(world.workspace / "away")
    world.workdir.mkdir()
    assert await world.says("bash", {"command": "ls"}, decided=yes(request)) == "ask"


def test_a_content_is_read_again_although_size_and_times_are_those_of_before(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"good")
    seen = path.stat()
    first = binding.content_at(path)
    path.write_bytes(b"evil")
    os.utime(path, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    assert binding.content_at(path) != first


def test_a_pipe_in_the_place_of_a_file_is_bound_without_waiting_for_it(tmp_path: Path) -> None:
    path = tmp_path / "a"
    os.mkfifo(path)
    assert binding.content_at(path).startswith(b"as it is")
    assert binding.content_at(tmp_path / "none") == b"absent"


async def test_digests_are_too_long_to_find_two_contents_with_one(world: World) -> None:
    request = await world.asked("bash", {"command": "ls"})
    digest = request.approval.removeprefix("a_1")
    assert len(digest) * 4 >= 128


# What started the run -----------------------------------------------------------------------------


def record(seq: int, event: object) -> Record:
    return Record(seq=seq, at=datetime.now(UTC), event=event)  # type: ignore[arg-type]


def said(message: str, source: str) -> MessageReceived:
    return MessageReceived(message=MessageId(message), parts=(Text(text="go"),), source=source)


def began(*messages: str) -> TurnStarted:
    ids = tuple(MessageId(m) for m in messages)
    return TurnStarted(turn=TurnId("t"), messages=ids, limits=TurnLimits())


@pytest.mark.parametrize(
    ("source", "origin"),
    [
        ("terminal", "interactive"),
        ("api", "interactive"),
        ("schedule:morning", "schedule"),
        ("webhook:ci", "webhook"),
        ("subagent", "subagent"),
        ("telegram:group", "gateway"),
    ],
)
def test_a_run_is_of_the_origin_of_what_started_it(world: World, source: str, origin: str) -> None:
    world.gate.feed(record(1, said("m1", source)))
    world.gate.feed(record(2, began("m1")))
    assert world.gate._origins.now() == origin


def test_of_several_origins_the_one_trusted_least_counts(world: World) -> None:
    world.gate.feed(record(1, said("m1", "terminal")))
    world.gate.feed(record(2, began("m1")))
    world.gate.feed(record(3, said("m2", "webhook:ci")))
    assert world.gate._origins.now() == "interactive"
    world.gate.feed(record(4, MessagesTaken(messages=(MessageId("m2"),))))
    assert world.gate._origins.now() == "webhook"


def test_the_origin_of_a_turn_that_was_under_way_is_read_from_the_log(world: World) -> None:
    before = [record(1, said("m1", "schedule:x")), record(2, began("m1"))]
    world.gate = world.open(earlier=before)
    assert world.gate._origins.now() == "schedule"
    world.gate = world.open(earlier=before[:1])
    world.gate.feed(record(2, began("m1")))
    assert world.gate._origins.now() == "schedule"
