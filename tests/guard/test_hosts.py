"""A host is one host in rules, in calls and where it is dialled, however it is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from perdure import hosts
from perdure.egress.address import parse as address
from perdure.guard import Rule
from perdure.guard.flow import Finding, forms
from perdure.guard.policy import parse
from perdure.guard.query import Query
from perdure.kernel.errors import ConfigError
from perdure.models.places import origin
from perdure.secrets.bindings import host_pattern

from .world import World, stops

WORK = Path("/home/ann/work")


@pytest.fixture(autouse=True)
def only_rules(world: World) -> None:
    """Where data comes from is another matter."""
    world.gate = world.open(finding=Finding(verdict="free"))


FORMS = ["example.com/x", "example.com:443/x", "example.com?x", "EXAMPLE.com.#x", "https://example.com/x",
         "example.com?u=http://good.example"]  # fmt: skip


@pytest.mark.parametrize("url", FORMS)
@pytest.mark.parametrize("kind", ["deny", "ask", "allow"])
async def test_a_rule_for_a_host_sees_addresses_without_a_scheme(
    world: World, kind: str, url: str
) -> None:
    world.write_policy(
        f"mode: {'ask' if kind == 'allow' else 'auto'}\n{kind}: [{{tool: '*', host: example.com}}]\n"
    )
    expected = {"deny": "refuse"}.get(kind, kind)
    assert await world.says("web_fetch", {"url": url}) == expected
    assert await world.says("web_fetch", {"url": "good.example/example.com"}) != "refuse"


@pytest.mark.parametrize(
    "url",
    ["http://a b.example/", "http://2130706433/", "https://u:p@example.com/", "https:example.com",
     "http://good.example\\@example.com/", "http://[::1", "http:///x", "x" * 300, "a..example/"],
)  # fmt: skip
async def test_a_host_that_cannot_be_read_fits_every_deny_rule_and_no_allow_rule(
    world: World, url: str
) -> None:
    world.write_policy("mode: auto\ndeny: [{tool: web_fetch, host: other.example}]\n")
    assert await world.says("web_fetch", {"url": url}) == "refuse"
    world.write_policy("mode: auto\nask: [{tool: web_fetch, host: other.example}]\n")
    assert await world.says("web_fetch", {"url": url}) == "ask"
    world.write_policy("mode: restrict\nallow: [{tool: web_fetch, host: '*'}]\n")
    assert await world.says("web_fetch", {"url": url}) == "refuse"
    assert await world.says("web_fetch", {"url": "other.example"}) == "allow"


def test_gate_vault_models_and_egress_read_a_name_alike() -> None:
    for given, name in [
        ("faß.de", "xn--fa-hia.de"), ("FASS.de.", "fass.de"), ("bücher.example", "xn--bcher-kva.example"),
        ("１２７。0.0.1", "127.0.0.1"), ("βόλος.example", "xn--nxasmm1c.example"),
    ]:  # fmt: skip
        assert hosts.of_url(f"https://{given}/x") == hosts.of_url(given) == name
        assert hosts.pattern(given) == name
        assert host_pattern(given) == name
        assert origin(f"https://{given}/v1") == f"https://{name}"
        assert address(f"https://{given}/").host == name
        assert forms.url(f"https://{name}/x") == f"https://{hosts.shown(name)}/x"
    for none in ("a..b", "127.1", "0x7f000001", "a%2eb", "-a.example", "☃.example"):
        with pytest.raises(hosts.NoHost):
            hosts.of_url(f"https://{none}/")
        with pytest.raises(ConfigError):
            origin(f"https://{none}/")
        assert forms.host(none) is forms.url(f"https://{none}/") is None


@pytest.mark.parametrize("kind", ["allow", "deny"])
async def test_sharp_s_is_no_double_s(world: World, kind: str) -> None:
    mode, fits, not_fits = (
        ("ask", "allow", "ask") if kind == "allow" else ("auto", "refuse", "allow")
    )
    for host, same, other in [
        ("fass.de", "https://FASS.de/", "https://faß.de/"),
        ("faß.de", "https://xn--fa-hia.de/", "https://fass.de/"),
        ("'*.faß.de'", "https://a.faß.de/", "https://a.fass.de/"),
    ]:
        world.write_policy(f"mode: {mode}\n{kind}: [{{tool: web_fetch, host: {host}}}]\n")
        assert await world.says("web_fetch", {"url": same}) == fits
        assert await world.says("web_fetch", {"url": other}) in (not_fits, "ask")
        assert await world.says("web_fetch", {"url": other}) != fits


def test_a_recipient_at_a_host_with_sharp_s_is_another_one() -> None:
    rule = Rule(tool="*", recipient=("ann@fass.example",))

    def caught(recipient: str) -> str:
        from perdure.guard.matching import catches

        return catches(
            rule, Query(tool="mail", workdir=WORK, workspace=WORK, recipients=[recipient])
        )[0]

    assert caught("Ann@FASS.example") == "yes"
    assert caught("ann@faß.example") == "no"
    rule = Rule(tool="*", recipient=("*@faß.example",))
    assert caught("ann@xn--fa-hia.example") == "yes"


def test_a_denied_international_host_is_found_in_commands() -> None:
    rule = Rule(tool="*", host=("faß.de",))
    assert stops(rule, "bash", "curl https://faß.de/x", (), WORK) is True
    assert stops(rule, "bash", "curl https://xn--fa-hia.de/x", (), WORK) is True
    assert stops(rule, "bash", "curl https://fass.de/x", (), WORK) is False


def test_a_pattern_that_cannot_be_spelled_as_hosts_are_is_an_error_with_its_line() -> None:
    with pytest.raises(ConfigError) as caught:
        parse("deny:\n  - {tool: '*', host: '*bücher.example'}\n", Path("policy.yaml"))
    assert caught.value.line == 2


# Tools that do not say whom they reach ------------------------------------------------------------


@pytest.mark.parametrize("what", ["host: evil.example", "recipient: eve@evil.example"])
async def test_where_a_tool_does_not_declare_whom_it_reaches_a_deny_rule_asks(
    world: World, what: str
) -> None:
    world.write_policy(f"mode: auto\ndeny: [{{tool: '*', {what}}}]\n")
    assert await world.says("post", {"to": "somebody"}) == "ask"
    asked = await world.asked("post", {"to": "somebody"})
    assert "cannot be told" in asked.reason
    assert await world.says("look") == "allow"
    world.write_policy(f"mode: restrict\ndeny: [{{tool: '*', {what}}}]\nallow: [{{tool: post}}]\n")
    assert await world.says("post", {"to": "somebody"}) == "refuse"


async def test_what_the_arguments_of_such_a_tool_show_is_denied_and_allows_nothing(
    world: World,
) -> None:
    world.write_policy("mode: auto\ndeny: [{tool: post, host: evil.example}]\n")
    assert await world.says("post", {"to": "https://evil.example/x"}) == "refuse"
    world.write_policy("mode: auto\ndeny: [{tool: post, recipient: eve@evil.example}]\n")
    assert await world.says("post", {"to": "eve@evil.example"}) == "refuse"
    world.write_policy("mode: restrict\nallow: [{tool: post, host: good.example}]\n")
    assert await world.says("post", {"to": "https://good.example/x"}) == "refuse"


# Duragent's rules for tools of a provider ----------------------------------------------------------


async def test_a_duragent_rule_that_denies_or_asks_by_provider_goes_by_the_tools_name(
    world: World,
) -> None:
    for rule in ("cli:po*", "mcp:github:post"):
        world.write_policy(f'mode: auto\ndeny: ["{rule}"]\n')
        assert await world.says("post") == "refuse"
        assert await world.says("look") == "allow"
        world.write_policy(f'mode: dangerous\nask: ["{rule}"]\n')
        assert await world.says("post") == "ask"
    world.write_policy('mode: auto\ndeny: ["mcp:github:*"]\n')
    assert await world.says("post") == "ask"


def test_what_cannot_be_known_of_a_provider_is_said() -> None:
    part = parse(
        'allow: ["cli:deploy", "mcp:github:get_*"]\ndeny: ["mcp:x:*", "cli:y"]\n', Path("p.yaml")
    )
    told = [str(one) for one in part.warnings]
    assert len(told) == 3
    assert "p.yaml:1: this rule never applies" in told[0] and "{tool: deploy}" in told[0]
    assert "never applies" in told[1] and "{tool: get_*}" in told[1]
    assert told[2].startswith("p.yaml:2: who brings a tool is not known")
