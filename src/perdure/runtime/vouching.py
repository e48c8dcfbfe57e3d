"""An answer about data holds for every open question about no more than that data."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from perdure.kernel.events import ApprovalDecided
from perdure.kernel.state import State


def with_vouched(
    answers: Sequence[ApprovalDecided], state: State, now: datetime
) -> list[ApprovalDecided]:
    """The answers, and one for each other question whose values are all vouched for by then. Such an answer
    says nothing new and permits nothing: the call is judged again, and whatever else it must be asked
    about is asked anew."""
    vouched = set(state.endorsed)
    by: ApprovalDecided | None = None
    for one in answers:
        request = state.approvals.get(one.approval)
        if request is not None and one.answer == "allow" and one.scope == "data":
            vouched.update(request.endorses)
            by = one
    if by is None:
        return [*answers]
    answered = {one.approval for one in answers}
    return [
        *answers,
        *(
            ApprovalDecided(
                approval=id_,
                answer="allow",
                scope="data",
                by=by.by,
                note="by the answer to another question about the same data",
            )
            for id_, request in state.approvals.items()
            if id_ not in answered
            and request.endorses
            and vouched.issuperset(request.endorses)
            and "data" in request.offers
            and not request.expired(now)
        ),
    ]
