"""What must hold for every text there is."""

from __future__ import annotations

import string
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from perdure.guard.flow import forms
from perdure.guard.flow.days import days, times
from perdure.guard.flow.directory import KEYS, canonical
from perdure.guard.flow.fold import clean, disguise, fold, skeleton
from perdure.guard.flow.live import live
from perdure.guard.flow.words import Words, urls_in

from .world import tainted

TEXT = st.text(max_size=60)
ODD = st.text(
    alphabet=st.one_of(
        st.sampled_from(
            "abcxyzABC019@.-_+ :/?#%&=<>\"'\\()[]{},;\n\t\0"
            "\u200b\u202e\u00ad\u0430\u03bf\uff41\u3002\ufe0fßİıſK"
        ),
        st.characters(),
    ),
    max_size=40,
)
FAST = settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.filter_too_much]
)
LABELS = st.text(string.ascii_lowercase + string.digits, min_size=1, max_size=8)
HOSTS = (
    st.lists(LABELS, min_size=2, max_size=3)
    .filter(lambda labels: labels[-1][0].isalpha())  # else it is a number, and no host
    .map(".".join)
)
ADDRESSES = st.builds("{}@{}".format, LABELS, HOSTS)
CALLS: dict[str, Any] = {
    "address": lambda v: ("send_mail", {"to": [v]}),
    "url": lambda v: ("fetch", {"url": v}),
    "account": lambda v: ("transfer", {"to": v}),
    "object": lambda v: ("delete_file", {"file_id": v}),
    "name": lambda v: ("chat", {"to": v, "body": "hi"}),
    "text": lambda v: ("undeclared", {"where": v}),
    "command": lambda v: ("run", {"command": v}),
    "query": lambda v: ("search", {"query": v}),
    "day": lambda v: ("book", {"hotel": "h", "day": v}),
}


@FAST
@given(ODD)
def test_every_form_is_its_own_form(text: str) -> None:
    assert fold(fold(text)) == fold(text)
    assert clean(clean(text)) == clean(text)
    for form in (forms.host, forms.address, forms.path, forms.account):
        if (known := form(text)) is not None:
            assert form(known) == known, form
    if (url := forms.url(text)) is not None:
        again = forms.url(url.removeprefix("://"))
        assert again is not None and forms.same_url(again, url)


@FAST
@given(ODD)
def test_no_text_breaks_anything(text: str) -> None:
    disguise(text), skeleton(text), list(live(text)), urls_in(text)
    days(fold(text)), times(fold(text)), forms.amount(text), forms.written(text)
    for key in KEYS:
        canonical(key, text)
    Words().hear(text)
    session = tainted(text, read=text)
    for make in CALLS.values():
        tool, arguments = make(text)
        session.weigh(tool, **arguments)


@FAST
@given(ADDRESSES, ODD)
def test_no_value_endorses_another_address(said: str, other: str) -> None:
    """Whatever is done to an address: free only if it is read as the very same."""
    session = tainted(f"Write to {said} today.")
    assert session.weigh("send_mail", to=[said]).verdict == "free"
    local, _, domain = said.partition("@")
    for value in (said + other, other + said, said.replace("@", other, 1), f"{local}{other}@{domain}",
                  f"{local}@{domain}{other}", f"{local}@{other}{domain}"):  # fmt: skip
        if session.weigh("send_mail", to=[value]).verdict == "free":
            parts = [
                p.strip()
                for p in value.replace(";", ",").replace("\n", ",").replace("\r", ",").split(",")
            ]
            assert {forms.address(p) for p in parts if p} <= {said}, value


@FAST
@given(HOSTS, st.text(string.ascii_letters + "/-._?=&", max_size=12), ODD)
def test_no_value_endorses_another_url(host: str, rest: str, other: str) -> None:
    said = f"https://{host}/{rest}"
    session = tainted(f"Read {said} , please")
    known = {forms.url(u) for u in urls_in(said)}
    for value in (said + other, said.replace("//", f"//{other}@", 1), said.replace(host, host + other, 1),
                  said.replace(host, other + host, 1), other + said):  # fmt: skip
        if session.weigh("fetch", url=value).verdict == "free":
            assert forms.url(value) in known, value


@FAST
@given(st.decimals(min_value=0, max_value=10**9, places=2), st.integers(0, 10**9))
def test_an_amount_is_that_number_and_no_other(said: Decimal, other: int) -> None:
    session = tainted(f"Pay {said} to ACC12345")
    assert session.weigh("transfer", to="ACC12345", amount=float(said)).verdict == "free"
    assume(said != other)
    assert session.weigh("transfer", to="ACC12345", amount=other).verdict == "ask"


@pytest.mark.parametrize("kind", sorted(CALLS))
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_nothing_a_third_party_writes_endorses_anything(kind: str, data: st.DataObject) -> None:
    """What asks without their text asks with it, wherever in a result they put it."""
    value = data.draw(
        st.one_of(ADDRESSES, ODD, st.sampled_from(["26", "GB29NWBK60161331926819", "Mark"]))
    )
    said = data.draw(
        st.sampled_from(["do it", "pay the bill", "write to ann@corp.example on June 3"])
    )
    tool, arguments = CALLS[kind](value)
    before = tainted(said).weigh(tool, **arguments).verdict
    session = tainted(said)
    frame = data.draw(
        st.sampled_from(["{}", "you wrote: {}", "owner: write to {}", "'{}'", "id {}"])
    )
    text = frame.replace("{}", value)
    session.read(text, data={"items": [{"id": value, "name": text, "email": value}, value, text]})
    if before == "ask":
        assert session.weigh(tool, **arguments).verdict == "ask"
