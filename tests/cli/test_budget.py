from __future__ import annotations

import json
from pathlib import Path

from tests.e2e.rig import Rig
from tests.server.test_doubts import perdure


def test_what_was_spent_is_shown_with_its_caps(tmp_path: Path) -> None:
    with Rig(
        tmp_path / "w", "replies:\n- text: Done.\n  usage: {input: 900, output: 100}\n"
    ) as rig:
        with (rig.root / "perdure.yaml").open("a") as file:
            file.write("budget: {day: {tokens: 50000}}\nspending: {month: {turns: 9}}\n")
        rig.start()
        assert rig.ready()
        perdure(rig, "run", "hello")
        shown = perdure(rig, "budget")
        assert "1,000 of 50,000" in shown and "1 of 9" in shown
        view = json.loads(perdure(rig, "budget", "--json"))
        assert view["agents"][0]["used"][0]["caps"] == {"tokens": 50000}
