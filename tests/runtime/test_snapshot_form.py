"""A snapshot is read by the version that wrote it only, and what it consists of has a number."""

from __future__ import annotations

import json
from hashlib import sha256

import msgspec

from perdure.context import session
from perdure.context.fold import Folded
from perdure.kernel.prompt import AssistantItem, ResultsItem, UserItem
from perdure.kernel.state import State
from perdure.runtime import saving

KNOWN = {"2": "b2df2caafab982ed"}
ITEMS = {"1": "486f3b46222da81b"}
"""By number: a digest of the fields, their types and defaults."""


def described(*types: type) -> str:
    """What `msgspec` says of the types' fields."""
    shown = [repr(msgspec.inspect.type_info(t)) for t in types]
    return sha256(json.dumps(shown).encode()).hexdigest()[:16]


def test_a_change_of_the_state_raises_the_number_of_what_is_saved() -> None:
    assert KNOWN.get(saving._FORM.split()[1]) == described(State, saving._Saved), (
        "the state's fields changed: raise the number in saving._FORM and note the new digest here"
    )


def test_a_change_of_the_context_raises_the_number_of_its_dump() -> None:
    assert ITEMS.get(session._FORM.split()[1]) == described(
        Folded, UserItem, AssistantItem, ResultsItem
    ), "fields changed: raise the number in context.session._FORM and note the new digest here"
