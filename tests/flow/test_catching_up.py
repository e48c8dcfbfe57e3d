"""A long session is looked at once, in a thread, and each text in it as if it were searched whole."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perdure.guard.flow import Flow, forms
from perdure.guard.flow import ledger as ledgers
from perdure.guard.flow.seen import KEPT, Result, Seen
from perdure.guard.flow.words import urls_in
from perdure.kernel.events import (
    AnyEvent,
    ArtifactId,
    CallId,
    Image,
    MessageId,
    MessageReceived,
    ModelResponded,
    Native,
    Record,
    RequestId,
    Text,
    ToolCall,
    ToolFinished,
    ToolResult,
)
from perdure.kernel.labels import LEAST

from .world import AT, WEB, Made, SendMail


def kept(seen: Seen, text: str) -> Result:
    result = ToolResult(parts=(Text(text=text),))
    found = Result(
        tool="fetch",
        origin="web",
        label=WEB,
        text=text,
        asked=False,
        search=False,
        echo=frozenset(),
    )
    seen.keep(result, found)
    return found


HOSTS = st.sampled_from(
    ["a.example.com", "b-c.example.org", "A.Example.com", "localhost", "127.0.0.1"]
)
URLS = st.builds(
    "{}{}{}{}".format,
    st.sampled_from(["https://", "http://", "", "www."]),
    HOSTS,
    st.sampled_from(["", ":80", ":8080"]),
    st.sampled_from(["", "/", "/x", "/x.html", "/x?q=1"]),
)
AROUND = st.sampled_from(
    ["", " ", ".", ".Then", ". Then", ")", "x", "-", "/", "\n", ".evil.org", '"', "_", "x-", "*_"]
)


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(AROUND, URLS, AROUND), min_size=1, max_size=4), URLS)
def test_a_url_is_found_in_all_results_in_which_it_stands(
    texts: list[tuple[str, str, str]], wanted: str
) -> None:
    seen = Seen()
    all_ = [kept(seen, "".join(text)) for text in texts]
    known = forms.url(wanted)
    if known is None:
        return
    assert list(seen.holding_url(known, wanted)) == [
        result
        for result in all_
        if wanted in result.text
        and any(
            (u := forms.url(found)) is not None and forms.same_url(known, u)
            for found in urls_in(result.text)
        )
    ]


def test_a_result_that_is_not_kept_any_more_holds_no_url() -> None:
    seen, url = Seen(), "https://a.example.com/x"
    kept(seen, f"see {url}")
    known = forms.url(url) or ""
    assert list(seen.holding_url(known, url))
    for _ in range(5):
        kept(seen, "y" * (KEPT // 4))
        assert all(r in seen.results for r in seen.holding_url(known, url))
    assert not list(seen.holding_url(known, url))


def finished(seq: int) -> Record:
    result = ToolResult(parts=(Text(text=f"result {seq}"),), label=WEB)
    event = ToolFinished(call=CallId(f"c{seq}"), tool="fetch", result=result)
    return Record(seq=seq, at=AT, event=event)


async def test_what_piled_up_is_not_looked_at_on_the_event_loop() -> None:
    threads: set[int] = set()

    def earlier() -> Iterator[Record]:
        threads.add(threading.get_ident())
        yield finished(1)

    flow = Flow(earlier=earlier)
    call = ToolCall(id=CallId("c2"), name="send_mail", arguments={"to": ["a@b.test"]})
    prepared = Made(call, SendMail(to=("a@b.test",)))
    await flow.ready(prepared, LEAST)
    assert not threads  # nothing in it can be a reason against the call
    await flow.ready(prepared, WEB)
    assert threads and threading.get_ident() not in threads
    flow.weigh(prepared, label=WEB)
    assert len(threads) == 1


def test_records_that_come_while_others_are_looked_at_are_all_looked_at() -> None:
    book = ledgers.Ledger(earlier=tuple, tools=lambda name: None)
    last = 2_000
    feeding = threading.Thread(target=lambda: [book.feed(finished(n)) for n in range(1, last + 1)])
    feeding.start()
    while feeding.is_alive():
        book.catch_up()
    book.catch_up()
    assert [r.text for r in book.seen.results] == [f"result {n}" for n in range(1, last + 1)]


def test_a_record_that_cannot_be_looked_at_stays_with_all_behind_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    book = ledgers.Ledger(earlier=tuple, tools=lambda name: None)
    for n in (1, 2, 3):
        book.feed(finished(n))
    looked_at = book._take

    def take(record: Record) -> None:
        if record.seq == 2:
            raise ValueError("odd")
        looked_at(record)

    monkeypatch.setattr(ledgers.Ledger, "_take", lambda self, record: take(record))
    for _ in range(2):
        with pytest.raises(ValueError, match="odd"):
            book.catch_up()
    monkeypatch.undo()
    book.catch_up()
    assert [r.text for r in book.seen.results] == ["result 1", "result 2", "result 3"]


def test_of_what_waits_only_that_is_kept_which_will_be_looked_at() -> None:
    book = ledgers.Ledger(earlier=tuple, tools=lambda name: None)
    picture = Image(media_type="image/png", artifact=ArtifactId("a"))
    call, text = ToolCall(id=CallId("c"), name="fetch", arguments={}), Text(text="x")
    native = Native(format="some", body=msgspec.Raw(b"[]"))
    events: list[AnyEvent] = [
        ModelResponded(request=RequestId("r"), model="m", parts=(text,), native=native),
        ModelResponded(request=RequestId("r"), model="m", parts=(text, call), native=native),
        MessageReceived(message=MessageId("m"), parts=(text, picture)),
        ToolFinished(call=CallId("c"), tool="fetch", result=ToolResult(parts=(text, picture))),
        ToolFinished(call=CallId("c"), tool="fetch", result=ToolResult(status="error")),
    ]
    for seq, event in enumerate(events, 1):
        book.feed(Record(seq=seq, at=AT, event=event))
    answered, said, came = (record.event for record in book._waiting)
    assert isinstance(answered, ModelResponded) and isinstance(said, MessageReceived)
    assert (answered.parts, answered.native, said.parts) == ((call,), None, (text,))
    assert isinstance(came, ToolFinished) and came.result.parts == (text,)


def test_data_of_results_counts_and_what_is_dropped_is_still_known_to_have_happened(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ledgers, "WAITING", 1_000)
    book = ledgers.Ledger(earlier=tuple, tools=lambda name: None)
    for seq in range(1, 41):
        result = ToolResult(data={"rows": [{"name": f"row {seq} {'x' * 90}"}]}, label=WEB)
        event = ToolFinished(call=CallId(f"c{seq}"), tool="fetch", result=result)
        book.feed(Record(seq=seq, at=AT, event=event))
        assert book._size <= 1_000
    held = [bool(r.event.result.data) for r in book._waiting if isinstance(r.event, ToolFinished)]
    assert len(held) == 40 and not held[0] and held[-1] and 5 <= sum(held) <= 10
    book.catch_up()
    assert book._size == 0 and len(book.seen.results) == 40
