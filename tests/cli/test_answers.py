"""What a line typed at a question means: all once, one by one, none; and never more than is offered."""

from __future__ import annotations

from perdure.cli.view.answers import Given, Lines
from perdure.kernel import events as e


def asks(id_: str, *offers: str, endorses: tuple[str, ...] = ()) -> e.ApprovalRequested:
    return e.ApprovalRequested(
        approval=e.ApprovalId(id_),
        call=e.CallId(f"call {id_}"),
        tool="send",
        arguments={},
        reason="asks",
        offers=offers or ("once", "session", "always"),
        rule="{tool: send}",
        endorses=endorses,
    )


def given(id_: str, scope: e.ApprovalScope = "once") -> Given:
    return Given(approval=e.ApprovalId(id_), answer="allow", scope=scope)


def lines(unseen: str = "") -> Lines:
    return Lines(lambda request: unseen)


def test_a_question_names_the_answers_that_are_offered_data_first() -> None:
    vouching = asks("a", "data", "once", endorses=("ann@home.example",))
    prompt = lines().prompt([vouching])
    assert prompt.startswith("Allow send?  d this data, for this task, y once, n no")
    assert "session" not in prompt and "always" not in prompt


def test_what_is_not_offered_cannot_be_given() -> None:
    for word in ("d", "s", "a"):
        heard = lines().hear(word, [asks("a", "once")])
        assert heard is not None and not heard.given
        assert "not offered" in heard.told


def test_each_key_is_its_scope_and_a_no_may_say_why() -> None:
    one = [asks("a", "data", "once", "session", "always", endorses=("x",))]
    for word, scope in (("d", "data"), ("y", "once"), ("s", "session"), ("a", "always")):
        heard = lines().hear(word, one)
        assert heard is not None and list(heard.given) == [given("a", scope)]  # type: ignore[arg-type]
    heard = lines().hear("n not today", one)
    assert heard is not None
    assert list(heard.given) == [Given(approval=e.ApprovalId("a"), answer="deny", note="not today")]
    for other in ("yes please", "hello", "", "y now"):
        assert lines().hear(other, one) is None


def test_questions_that_came_together_are_answered_together() -> None:
    both = [asks("a"), asks("b")]
    heard = lines().hear("y", both)
    assert heard is not None and list(heard.given) == [given("a"), given("b")]
    heard = lines().hear("n", both)
    assert heard is not None and [g.answer for g in heard.given] == ["deny", "deny"]
    assert lines().hear("a", both) is None
    assert "these 2" in lines().prompt(both)


def test_one_by_one_asks_each_for_itself() -> None:
    both, it = [asks("a"), asks("b")], lines()
    heard = it.hear("o", both)
    assert heard is not None and not heard.given
    assert it.prompt(both).startswith("Allow send?")
    heard = it.hear("s", both)
    assert heard is not None and list(heard.given) == [given("a", "session")]


def test_what_was_not_shown_whole_cannot_be_allowed() -> None:
    for waiting in ([asks("a")], [asks("a"), asks("b")]):
        heard = lines("Not shown here: 9 characters.").hear("y", waiting)
        assert heard is not None and not heard.given
        assert "First see all of it" in heard.told
        heard = lines("Not shown here: 9 characters.").hear("n", waiting)
        assert heard is not None and len(heard.given) == len(waiting)
