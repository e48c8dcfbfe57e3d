"""What is judged is what is sent: one reading of an address, or none."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from yarl import URL

from perdure.egress import Refused
from perdure.egress.address import Address, ambiguous, decoded_path, join, parse
from perdure.egress.networks import plain, refusal
from perdure.egress.wire import _pinned_url

DISGUISES = [
    "http://2130706433/",
    "http://0x7f000001/",
    "http://0x7f.1/",
    "http://0177.0.0.1/",
    "http://017700000001/",
    "http://127.1/",
    "http://127.0.1/",
    "http://0/",
    "http://0x/",
    "http://1.2.3.4.5/",
    "http://256.1.1.1/",
    "http://127.0.0.1.0x1/",
    "http://[::1%25lo]/",
    "http://[::1",
    "http://[::1]x/",
    "http://[127.0.0.1]/",
    "http://exa%6dple.org/",
    "http://user@example.org/",
    "http://user:pw@example.org/",
    "http://example.org@127.0.0.1/",
    "http://example.org\\@127.0.0.1/",
    "http://example.org\t/",
    "http://exam\nple.org/",
    "http://example.org/a b",
    " http://example.org/",
    "http:/example.org/",
    "http:example.org",
    "//example.org/",
    "http://",
    "http:///etc/passwd",
    "http://exa mple.org/",
    "http://-example.org/",
    "http://example..org/",
    "http://.example.org/",
    "http://example.org:99999/",
    "http://example.org:0/",
    "http://example.org:8o/",
    "http://example.org:80:80/",
    "http+unix://%2Frun%2Fdocker.sock/info",
    "unix:/run/docker.sock",
    "file:///etc/passwd",
    "ftp://example.org/",
    "gopher://127.0.0.1:6379/_x",
    "javascript:alert(1)",
    "data:text/plain,x",
    "http://exa\u0000mple.org/",
    "http://example.org/\ud800",
    "http://" + "a" * 64 + ".org/",
    "http://example.org/" + "a" * 9000,
]


@pytest.mark.parametrize("url", DISGUISES)
def test_what_programs_read_differently_is_refused(url: str) -> None:
    with pytest.raises(Refused) as refused:
        parse(url)
    assert refused.value.stage == "address"


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://LOCALHOST./", "localhost"),
        ("http://Example.ORG./x", "example.org"),
        ("http://127.0.0.1./", "127.0.0.1"),
        ("http://１２７。0｡0．1/", "127.0.0.1"),
        ("http://ⓔxample.org/", "example.org"),
        ("http://[0:0:0:0:0:ffff:7f00:1]/", "::ffff:127.0.0.1"),
        ("http://[::FFFF:127.0.0.1]:80/", "::ffff:127.0.0.1"),
        ("https://münchen.de/", "xn--mnchen-3ya.de"),
        ("https://аpple.com/", "xn--pple-43d.com"),
    ],
)
def test_a_host_is_told_by_the_name_that_will_be_looked_up(url: str, host: str) -> None:
    found = parse(url)
    assert ip_address(found.host) == ip_address(host) if found.ip else found.host == host


def test_dot_segments_are_gone_before_anything_is_judged() -> None:
    assert parse("https://a.example/x/../%2e%2E/secret/./y").path == "/secret/y"
    assert parse("https://a.example").target == "/"
    assert parse("https://a.example/a?b=c d".replace(" ", "%20") + "#frag").target == "/a?b=c%20d"
    assert parse("https://a.example/ü?ö").target == "/%C3%BC?%C3%B6"
    assert parse("https://a.example/100%").path == "/100%25"


def test_a_path_that_servers_may_read_differently_is_seen_as_such() -> None:
    for path in ("/a%2Fb", "/a%252fb", "/a//b", "/a;x", "/a%5cb", "/a/%252e%252e/b"):
        assert ambiguous(path), path
    assert not ambiguous("/repos/me/it%20s/issues")
    assert decoded_path("/a/%252e%252e/secret") == "/secret"


def test_a_redirect_is_read_against_where_it_came_from() -> None:
    base = parse("https://a.example/x/y?z=1")
    assert str(join(base, "../w")) == "https://a.example/w"
    assert str(join(base, "//b.example/w")) == "https://b.example/w"
    for bad in ("http://[", "file:///etc/passwd", "//user@b.example/", "\r\nx: y"):
        with pytest.raises(Refused):
            join(base, bad)


URLISH = st.text(
    alphabet=st.sampled_from(list("abz019.-_:/@?#[]%\\&=;,+ \t\r\n\0xX２ß。ａ\u200d\ud800")),
    max_size=40,
)


@given(st.sampled_from(["http://", "https://", "HTTP://", "", "//"]), URLISH)
@example("http://", "127.0.0.1:80\\@a.example/")
@example("http://", "a.example:80#@b.example/")
@example("http://", "a.example?@b.example/")
def test_no_text_is_read_otherwise_by_those_who_send_it(scheme: str, rest: str) -> None:
    """Either it is refused, or three parsers and the wire agree on host, port and request line."""
    try:
        address = parse(scheme + rest)
    except Refused:
        return
    again = parse(str(address))
    assert again == address, "its own text reads the same"
    split = urlsplit(str(address))
    assert split.hostname == address.host
    assert (split.port or {"http": 80, "https": 443}[split.scheme]) == address.port
    theirs = URL(str(address), encoded=True)
    assert theirs.raw_host == address.host and theirs.port == address.port
    assert theirs.raw_path_qs == address.target
    ip = plain("93.184.216.34")
    assert _pinned_url(address, ip, address.target).raw_path_qs == address.target
    assert address.target.isascii() and not any(c in address.target for c in " \r\n\t\\")


@given(st.ip_addresses())
def test_only_what_everybody_can_reach_is_free(ip: object) -> None:
    """Never more than Python's own idea of a global address."""
    found = plain(str(ip))
    if not refusal(found) and ":" not in str(ip):
        assert found.is_global and not found.is_multicast
    elif not refusal(found):
        assert found.is_global or str(ip).startswith("64:ff9b::")


@given(st.ip_addresses(v=4))
def test_an_address_in_another_form_is_judged_as_itself(ip: object) -> None:
    for form in ("::ffff:{}", "::{}", "::ffff:0:{}", "64:ff9b::{}"):
        wrapped = plain(form.format(ip))
        if str(ip).startswith("0.0.0."):
            assert refusal(wrapped)
        else:
            assert refusal(wrapped) == refusal(plain(str(ip)))


NOT_FOR_EVERYBODY = """
0.0.0.0 10.1.2.3 100.64.0.1 100.100.100.200 127.8.8.8 169.254.169.254 172.31.0.1 192.168.1.1 192.0.0.192
198.18.0.1 203.0.113.9 224.0.0.1 239.1.1.1 240.0.0.1 255.255.255.255 168.63.129.16 :: ::1 fd00:ec2::254
fe80::1 fec0::1 ff02::1 ::ffff:10.0.0.1 ::127.0.0.1 64:ff9b::7f00:1 64:ff9b:1::7f00:1 2002:7f00:1::
2001:0:1:2:3:4:5:6 2001:db8::1 100::1 5f00::1 2606:4700::5efe:127.0.0.1
"""


@pytest.mark.parametrize("ip", NOT_FOR_EVERYBODY.split())
def test_addresses_that_are_not_for_everybody(ip: str) -> None:
    assert refusal(plain(ip))


@pytest.mark.parametrize("ip", ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "64:ff9b::808:808"])
def test_addresses_that_are(ip: str) -> None:
    assert refusal(plain(ip)) == ""


def test_the_host_header_names_the_port_where_it_is_not_the_usual() -> None:
    assert Address(scheme="https", host="a.example", port=443).authority == "a.example"
    assert Address(scheme="http", host="::1", port=443).authority == "[::1]:443"
