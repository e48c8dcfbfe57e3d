"""The installation's own secrets, however somebody has encoded them."""

from __future__ import annotations

import base64
import html
import json
import string
import sys
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.kernel.errors import ConfigError
from perdure.leaks import Leaks, Own, Unavailable
from perdure.leaks.forms import forms
from perdure.leaks.known import Known

VALUE = "pX7/q+Zr2mN9vT4wKd81cE0gHs6JbLyA"
OWN = (Own(name="secret://shop", value=VALUE),)
LEAKS = Leaks(lambda: OWN)


def b64(text: str, before: str = "", after: str = "") -> str:
    return base64.b64encode((before + text + after).encode()).decode()


ENCODED: dict[str, str] = {
    "plain": VALUE,
    "percent": quote(VALUE, safe=""),
    "percent twice": quote(quote(VALUE, safe=""), safe=""),
    "all percent, small letters": "".join(f"%{c:02x}" for c in VALUE.encode()),
    "one letter percent": VALUE.replace("q", "%71"),
    "form": quote_plus(VALUE),
    "JSON": json.dumps(VALUE).replace("/", "\\/"),
    "JSON, all escaped": "".join(f"\\u{ord(c):04x}" for c in VALUE),
    "hex escapes": "".join(f"\\x{ord(c):02x}" for c in VALUE),
    "HTML": html.escape(VALUE).replace("7", "&#55;").replace("q", "&#x71;"),
    "hex": VALUE.encode().hex(),
    "hex in capitals": VALUE.encode().hex().upper(),
    "base64": b64(VALUE),
    "base64, second alignment": b64(VALUE, "x", "yz"),
    "base64, third alignment": b64(VALUE, "xy", "z"),
    "base64 for addresses": base64.urlsafe_b64encode(f"u:{VALUE}".encode()).decode(),
    "base64 in lines": base64.encodebytes(b"-" * 50 + VALUE.encode() + b"-" * 50).decode(),
    "base64 in base64": b64(b64(VALUE, "x")),
    "base64 in percent": quote(b64(VALUE, "xy"), safe=""),
    "hex in base64": b64(VALUE.encode().hex()),
    "base32": base64.b32encode(b"abc" + VALUE.encode()).decode(),
    "base32 as a host's name": base64.b32encode(VALUE.encode()).decode().lower(),
    "basic authentication": "Basic " + b64(VALUE, "user:"),
    "reversed": VALUE[::-1],
    "in small letters": VALUE.lower(),
    "with invisible characters": "\u200b".join(VALUE),
    "mail, broken in the middle": VALUE[:16] + "=\r\n" + VALUE[16:],
    "cut off": VALUE[:-6] + "…",
    "without its beginning": VALUE[6:],
}


@pytest.mark.parametrize("text", ENCODED.values(), ids=ENCODED)
def test_a_secret_is_found_in_every_encoding(text: str) -> None:
    for around in ("{}", "before {} after", "https://h.test/?a=1&d={}&b=2", "grüße {}\n"):
        found = LEAKS.scan(around.format(text))
        assert [leak.name for leak in found] == ["secret://shop"], around
        clean, count = LEAKS.redact(around.format(text))
        assert count == 1 and "[redacted: secret://shop]" in clean
        assert LEAKS.scan(clean) == ()


def test_what_stands_around_a_secret_stays(tmp_path: object) -> None:
    clean, count = LEAKS.redact(f"Grüße: {VALUE}, und {VALUE}!")
    assert clean == "Grüße: [redacted: secret://shop], und [redacted: secret://shop]!"
    assert count == 2


def test_a_clean_text_is_returned_as_it_is() -> None:
    text = "nothing here, not even in \udce9 a lone surrogate or 100% of it"
    clean, count = LEAKS.redact(text)
    assert clean is text and count == 0


def test_a_leak_and_an_own_secret_never_show_the_value() -> None:
    (leak,) = LEAKS.scan(f"x {VALUE}")
    assert VALUE not in repr(leak) + str(leak) + repr(OWN) + repr(LEAKS)


def test_a_long_key_of_many_lines_is_found_by_any_of_them() -> None:
    letters = string.ascii_letters + string.digits
    lines = [(letters[n:] + letters)[:64] for n in range(1, 26)]
    pem = "\n".join(["-----BEGIN PRIVATE KEY-----", *lines, "-----END PRIVATE KEY-----"])
    own = (Own(name="secret://signing", value=pem),)
    leaks = Leaks(lambda: own)
    assert leaks.redact(f"a {pem} b", formats=False) == ("a [redacted: secret://signing] b", 1)
    assert leaks.scan(f"only this: {lines[7]}", formats=False)
    assert leaks.scan(json.dumps({"key": pem}), formats=False)
    assert leaks.scan(b64(lines[3], "a"), formats=False)
    assert not leaks.scan("-----BEGIN PRIVATE KEY-----", formats=False)


def test_a_long_token_is_redacted_as_a_whole_and_found_in_part() -> None:
    value = "".join(chr(33 + (n * n * 7 + n * 3) % 93) for n in range(900))
    own = (Own(name="secret://long", value=value),)
    leaks = Leaks(lambda: own)
    assert leaks.redact(f"<{value}>", formats=False) == ("<[redacted: secret://long]>", 1)
    assert leaks.scan(value[300:420], formats=False)


def test_a_value_too_short_to_be_told_from_text_is_not_looked_for() -> None:
    own = (Own(name="secret://pin", value="1234"),)
    assert Leaks(lambda: own).scan("in 1234 years") == ()


def test_other_secrets_are_known_from_the_next_scan_on() -> None:
    own: tuple[Own, ...] = ()
    leaks = Leaks(lambda: own)
    assert leaks.scan(VALUE) == ()
    own = OWN
    assert leaks.scan(VALUE)


def test_own_secrets_that_cannot_be_read_stop_the_scan() -> None:
    def broken() -> tuple[Own, ...]:
        raise ConfigError("secrets.age is damaged")

    with pytest.raises(ConfigError):
        Leaks(broken).scan("anything")


def test_without_its_library_nothing_is_called_clean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "re2", None)
    monkeypatch.delitem(sys.modules, "perdure.leaks.known", raising=False)
    monkeypatch.delitem(sys.modules, "perdure.leaks.rules", raising=False)
    leaks = Leaks(lambda: OWN)
    calls: list[Callable[[], object]] = [
        leaks.check, lambda: leaks.scan("clean"), lambda: leaks.redact("clean"),
    ]  # fmt: skip
    for call in calls:
        with pytest.raises(Unavailable, match="re2 is not installed"):
            call()


values = st.text(string.ascii_letters + string.digits + "+/=._-~!$", min_size=16, max_size=80)


texts = st.text(string.printable, max_size=30)


@given(values, texts, texts, st.integers(0, 2), st.data())
def test_any_value_is_found_between_anything(
    value: str, before: str, after: str, depth: int, data: st.DataObject
) -> None:
    own = (Own(name="secret://any", value=value),)
    leaks = Leaks(lambda: own)
    text = value
    for _ in range(depth):
        text = data.draw(
            st.sampled_from(
                [
                    quote(text, safe=""),
                    b64(text, before, after),
                    text.encode().hex(),
                    "".join(f"%{c:02x}" for c in text.encode()),
                ]
            )
        )
    assert leaks.scan(f"{before} {text} {after}", formats=False)
    clean, _ = leaks.redact(f"{before} {text} {after}", formats=False)
    assert value not in clean or value in before + after


few = st.text("ab", min_size=8, max_size=40)


@given(st.lists(few, min_size=1, max_size=3, unique=True), st.text("abAB-_", max_size=300))
def test_every_place_of_every_form_is_found_where_they_overlap_too(
    known: list[str], text: str
) -> None:
    own = [Own(name=f"secret://{n}", value=value) for n, value in enumerate(known)]
    data = (text + known[0] + known[-1][2:] + text[:7]).encode()
    found = {(start, end) for start, end, _, _ in Known(own).find(data)}
    wanted = {form for secret in own for form in forms(secret.value)}
    assert found == {
        (at, at + len(form))
        for form in wanted
        for at in range(len(data))
        if data.startswith(form, at)
    }


ENCODERS: list[Callable[[str], str]] = [
    b64,
    lambda text: text.encode().hex(),
    lambda text: quote(text, safe=""),
    lambda text: "".join(f"%{byte:02x}" for byte in text.encode()),
    lambda text: base64.encodebytes(text.encode()).decode(),
    lambda text: f"some {text} more",
]


@given(st.data())
def test_texts_that_are_clear_together_hold_nothing_each_alone(data: st.DataObject) -> None:
    found = []
    for _ in range(data.draw(st.integers(1, 5))):
        text = data.draw(
            st.sampled_from([VALUE, VALUE[:22], "nothing here at all, is there", "A" * 30])
        )
        for encode in data.draw(st.lists(st.sampled_from(ENCODERS), max_size=3)):
            text = encode(text)
        found.append(data.draw(texts) + text + data.draw(st.sampled_from(["", "=", "%", "=\n"])))
    if LEAKS.clear(found):
        assert not any(LEAKS.scan(text, formats=False) for text in found)


def test_ordinary_texts_are_clear_and_one_secret_among_them_is_seen() -> None:
    ordinary = ["an answer", "id-123", "", "100 %", "https://a.test/?q=a%20b", "x" * 5_000] * 100
    assert LEAKS.clear(ordinary)
    for text in ENCODED.values():
        assert not LEAKS.clear([*ordinary, text, *ordinary])


padded = st.builds(
    lambda text, padding: text + padding,
    st.text(string.ascii_letters + string.digits + "+/=._-~!$", min_size=9, max_size=60).filter(
        lambda text: len(text.rstrip("=")) >= 8
    ),
    st.sampled_from(["", "=", "=="]),
)
ESCAPED: list[Callable[[str], str]] = [
    lambda letter: f"%{ord(letter):02x}",
    lambda letter: f"\\u{ord(letter):04x}",
    lambda letter: f"\\x{ord(letter):02X}",
    lambda letter: f"&#{ord(letter)};",
    lambda letter: f"\u200b{letter}",
    lambda letter: f"=\r\n{letter}",
    lambda letter: f"=\n{letter}",
]
ENDS = [
    "",
    "\n",
    "\r\n",
    "\r",
    "\nmore",
    "\r\nmore",
    "\n  more",
    "\n\n",
    "\u2028",
    " \n",
    "=\n",
    "%",
    "\0\n",
]


@given(padded, st.sampled_from(ESCAPED), st.sampled_from(ENDS), st.data())
def test_a_value_with_one_escape_is_found_whatever_ends_its_line(
    value: str, escape: Callable[[str], str], end: str, data: st.DataObject
) -> None:
    own = (Own(name="secret://any", value=value),)
    leaks = Leaks(lambda: own)
    at = data.draw(st.integers(0, len(value) - 1))
    text = value[:at] + escape(value[at]) + value[at + 1 :] + end
    assert leaks.scan(text, formats=False)
    for others in ([], ["exit_code"], ["more words", "and more=", "a%"]):
        assert not leaks.clear([text, *others])
        assert not leaks.clear([*others, text, *others])


def test_a_short_value_is_read_beside_other_texts_as_alone() -> None:
    own = (Own(name="secret://short", value="aBcDeF9="),)
    leaks = Leaks(lambda: own)
    for text in ("%61BcDeF9=", "\\u0061BcDeF9=", "aBc=\nDeF9="):
        assert leaks.scan(text, formats=False)
        assert not leaks.clear([text, "exit_code"])
    twice = quote("%61BcDeF9=", safe="=")
    assert leaks.scan(f"{twice} https://a.test/?q=a%20long%20one", formats=False)


def test_encodings_within_an_encoding_do_not_run_together_either() -> None:
    value = "AbCdEfGhIjKlMnOpQrStUv=="
    own = (Own(name="secret://padded", value=value),)
    leaks = Leaks(lambda: own)
    twice = quote("%41" + value[1:].replace("=", "%3D"), safe="")
    assert leaks.scan(f"{twice} https://a.test/?q=a%20long%20one", formats=False)
    assert leaks.redact(f"key: {value}, again {value[:-2]}.", formats=False) == (
        "key: [redacted: secret://padded], again [redacted: secret://padded].",
        2,
    )
