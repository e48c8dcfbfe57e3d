"""JSON as servers really send it."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.models.codec import clean, decode, decode_arguments, encode


class Delta(msgspec.Struct):
    text: str = ""
    raw: msgspec.Raw = msgspec.Raw(b"null")


@given(st.text(st.characters(exclude_categories=[])))
def test_clean_text_can_always_be_stored(text: str) -> None:
    cleaned = clean(text)
    cleaned.encode()
    assert clean(cleaned) == cleaned
    if not any("\ud800" <= c <= "\udfff" for c in text):
        assert cleaned == text


def test_halves_of_a_character_that_meet_become_it() -> None:
    assert clean("a\ud83d" + "\ude00b") == "a😀b"
    assert clean("a\ud83db") == "a�b"


def test_half_a_character_survives_decoding() -> None:
    assert decode(b'{"text":"\\ud83d"}', Delta).text == "\ud83d"
    assert bytes(decode(b'{"text":"\\ud83d","raw":{"a":1}}', Delta).raw) == b'{"a":1}'


def test_bytes_that_are_no_utf8_are_replaced() -> None:
    assert decode(b'{"text":"a\xffb"}', Delta).text == "a�b"


@pytest.mark.parametrize(
    "data", [b"", b"nonsense", b"[1]", b'{"text":1}', b'{"text":NaN}', b'{"text":"\\ud83d",}']
)
def test_what_is_not_json_or_does_not_fit_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError):
        decode(data, Delta)


def test_a_lone_half_is_replaced_when_encoding() -> None:
    assert json.loads(encode({"a": ["x\ud83d", {"\udc00": 1}]})) == {"a": ["x�", {"�": 1}]}


def nested(levels: int) -> list[object]:
    value: list[object] = []
    for _ in range(levels - 1):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ("", {}),
        ("  \n", {}),
        ('{"a":1}', {"a": 1}),
        (' {"a": "\\ud83d\\ude00"} ', {"a": "😀"}),
        ('{"a":"\\ud83d"}', {"a": "�"}),
        ('{"a":123456789012345678901234567890}', {"a": 123456789012345678901234567890}),
        ("null", None),
        ("[1]", None),
        ('"a"', None),
        ('{"a":NaN}', None),
        ('{"a":Infinity}', None),
        ('{"a":1e999}', None),
        ('{"b":"\\ud83d","a":1e999}', None),
        ('{"a":1', None),
        ('{"a":1}{"a":1}', None),
        ("[" * 100_000, None),
        ('{"a":' * 100_000, None),
        ('{"a":' + "[" * 99 + "]" * 99 + "}", {"a": nested(99)}),
        ('{"a":' + "[" * 100 + "]" * 100 + "}", None),
        ('{"a":["' + "[" * 200 + '"]}', {"a": ["[" * 200]}),
    ],
)
def test_arguments_are_an_object_or_nothing(text: str, arguments: object) -> None:
    assert decode_arguments(text) == arguments
