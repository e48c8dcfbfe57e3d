"""The outbox over HTTP and the terminal, with a real server."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.rig import Refused, Rig

from .test_doubts import perdure

SCRIPT = "replies:\n- text: The answer.\n- text: Another.\n"


def test_an_answer_leaves_and_a_dead_letter_is_sent_again(tmp_path: Path) -> None:
    with Rig(tmp_path / "w", SCRIPT) as rig:
        with (rig.root / "perdure.yaml").open("a") as file:
            file.write("outbox:\n  phone: {command: 'test -e up && cat > sent || exit 77'}\n")
        rig.start()
        assert rig.ready()
        assert "The answer." in perdure(rig, "run", "--deliver", "phone", "hello")
        rig.until("the failure", lambda: "failed" in perdure(rig, "outbox"))
        (letter,) = rig.call("GET", "/api/v1/outbox")["letters"]
        with pytest.raises(Refused) as refused:
            rig.call("POST", "/api/v1/outbox/t_1.none/retry")
        assert refused.value.status == 404
        (rig.root / "up").touch()
        perdure(rig, "outbox", "retry", letter["delivery"])
        rig.until("the delivery", (rig.root / "sent").exists)
        rig.until("an empty outbox", lambda: not rig.call("GET", "/api/v1/outbox")["letters"])
        with pytest.raises(Refused) as refused:
            path = f"/api/v1/sessions/{letter['session']}/messages"
            rig.call("POST", path, {"text": "hi", "deliver": "pager"})
        assert refused.value.status == 422 and "phone" in str(refused.value.problem)
