"""A long paste is folded where it is typed and where it is shown, and whole where it is sent."""

from __future__ import annotations

from perdure.cli.chat.paste import Pastes


def test_a_folded_paste_unfolds_and_folds_again() -> None:
    pastes, text = Pastes(), "\n".join(map(str, range(50)))
    typed = f"look: {pastes.fold(text)} there"
    assert typed == "look: [paste 1: 50 lines] there"
    assert pastes.unfold(typed) == f"look: {text} there"
    assert pastes.refold(pastes.unfold(typed)) == typed
    assert pastes.refold("nothing pasted") == "nothing pasted"
