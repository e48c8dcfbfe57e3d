"""A line that is passed without the scanner is one in which the scanner finds nothing."""

from __future__ import annotations

import io
import random
import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.leaks import Leaks, Own
from perdure.leaks.forms import forms
from perdure.leaks.harmless import LONGEST, MOST_OWN, is_harmless
from perdure.leaks.rules import RULES, Rule
from perdure.leaks.stream import CleanStream

OWN = (
    Own(name="secret://door", value="blue-9417"),
    Own(name="secret://phrase", value="three words together"),
    Own(name="secret://shop", value="shp-9Qx2LmV7rT4kW8zB1nC6"),
)
LISTENING = (
    "2026-11-21 10:00:00,123 INFO perdure: listening on http://127.0.0.1:38269 (process 42)\n"
)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_nothing_of_any_format_is_harmless(rule: Rule) -> None:
    @given(st.from_regex(re.compile(rule.pattern, re.ASCII)))
    def holds(text: str) -> None:
        assert not is_harmless(text.encode("utf-8", "surrogatepass"), ())

    holds()


@pytest.mark.parametrize("secret", OWN, ids=lambda secret: secret.name)
def test_no_form_of_an_own_secret_is_harmless(secret: Own) -> None:
    assert forms(secret.value)
    for form in forms(secret.value):
        assert not is_harmless(b"a " + form + b" b", OWN)


pieces = st.sampled_from(
    [
        *(secret.value for secret in OWN),
        *(form.decode("latin-1") for secret in OWN for form in forms(secret.value)),
        "%", "\\u00", "&#", "&lt;", "=\n", "\u200b", "@", "://", ".", ":", "-", "~", " ", "\n", "2026-11-21",
    ]
)  # fmt: skip


@given(st.lists(pieces | st.text(max_size=12), max_size=6))
def test_what_is_harmless_is_clean_to_the_scanner(parts: list[str]) -> None:
    text = "".join(parts)
    if is_harmless(text.encode("utf-8", "surrogatepass"), OWN):
        assert SCANNER.scan(text) == ()


SCANNER = Leaks(lambda: OWN)


def test_what_would_take_long_is_left_to_the_scanner() -> None:
    assert is_harmless(b"a " * (LONGEST // 2), ())
    assert not is_harmless(b"a " * LONGEST, ())
    many = tuple(
        Own(name=str(n), value=random.Random(n).randbytes(8).hex()) for n in range(MOST_OWN + 1)
    )
    assert not is_harmless(b"a", many)


def test_saying_where_it_listens_loads_no_scanner() -> None:
    code = (
        "import io, sys\n"
        "from perdure.leaks import Leaks, Own\n"
        "from perdure.leaks.stream import CleanStream\n"
        f"out = CleanStream(io.StringIO(), Leaks(lambda: (Own(name='a', value={OWN[2].value!r}),)))\n"
        f"out.write({LISTENING!r})\n"
        "print('re2' in sys.modules)\n"
        f"out.write('a {OWN[2].value} b\\n')\n"
        "print('re2' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]


def test_a_secret_among_harmless_lines_is_taken_out() -> None:
    out = io.StringIO()
    clean = CleanStream(out, Leaks(lambda: OWN))
    clean.write(LISTENING)
    clean.write("door blue-9417\n")
    clean.write(LISTENING)
    assert out.getvalue() == f"{LISTENING}door [redacted: secret://door]\n{LISTENING}"
