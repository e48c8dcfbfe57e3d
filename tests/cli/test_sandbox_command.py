"""`perdure sandbox`: the truth about this machine."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from perdure.agents import scaffold
from perdure.cli.app import perdure
from perdure.sandbox import Confines
from perdure.sandbox.attacks import ATTACKS
from perdure.sandbox.means import Means
from perdure.sandbox.probing import Result
from perdure.sandbox.status import summary


def test_without_a_sandbox_its_status_is_a_failure(tmp_path: Path) -> None:
    scaffold(tmp_path)
    with (tmp_path / "perdure.yaml").open("a") as file:
        file.write("\nsandbox: {backend: none}\n")
    done = CliRunner().invoke(perdure, ["-w", str(tmp_path), "sandbox", "status", "--json"])
    assert json.loads(done.output) == {"backend": "none", "controls": []}


def test_what_got_through_is_not_enforced_and_what_was_not_tried_is_not_claimed() -> None:
    outcomes = {"mount": "broken", "trace": "held", "powers": "untried", "devices": "untried"}
    results = [
        Result(attack=a, outcome=outcomes[a.name], said="why")  # type: ignore[arg-type]
        for a in ATTACKS
        if a.name in outcomes
    ]
    found = {c.name: c for c in summary(Means(name="launcher"), results, Confines(network="open"))}
    assert found["no mounts"].state == "not enforced"
    assert found["no powers"].state == "not tested"
    assert found["no network"].state == "not tested"
    assert found["no network in your settings"].state == "not enforced"
    assert found["the disk's space is limited"].state == "not enforced"


def test_every_attack_stands_for_a_control() -> None:
    results = [Result(attack=a, outcome="held") for a in ATTACKS]
    controls = summary(Means(name="launcher"), results, Confines())
    assert {a for c in controls for a in c.attacks} == {a.name for a in ATTACKS}
