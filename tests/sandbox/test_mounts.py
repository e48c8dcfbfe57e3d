"""What the owner mounts and unmounts between commands."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from perdure.sandbox.containment import Backend
from perdure.sandbox.supervision.launching import Launching
from perdure.sandbox.supervision.mounts import LIST
from perdure.sandbox.walls.plan import Traits

from .containing import BACKENDS, needs

APART = ["unshare", "--mount", "--propagation", "private"]
"""So that none of it is seen by anybody else."""


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_command_sees_what_is_mounted_when_it_starts_and_what_waits_for_one_holds_nothing_open(
    backend: Backend, tmp_path: Path
) -> None:
    needs(backend)
    trial = [*APART, "mount", "-t", "tmpfs", "none", str(tmp_path)]
    tried = subprocess.run(trial, capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"no mount can be made here: {tried.stderr.strip()}")
    played = subprocess.run(
        [*APART, sys.executable, "-m", "tests.sandbox.mounting", str(tmp_path), backend],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert played.returncode == 0, played.stderr


def test_where_changes_of_mounts_cannot_be_told_nothing_waits_for_a_command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made: list[Traits] = []
    monkeypatch.setattr(
        "perdure.sandbox.supervision.launching.Spare", lambda traits, _: made.append(traits)
    )
    kind = Traits("launcher", (), userns=False, alone=True, proxied=False, base=(), system=())
    spec = {"plan": {"means": "launcher", "cgroups": [], "userns": False, "network": "none", "proxy": "",
                     "base": [], "system": []}}  # fmt: skip
    (tmp_path / "spec").write_text(json.dumps(spec))
    monkeypatch.setattr(Launching, "_fork", lambda *_: 1)
    for known, waits in ((LIST, [kind]), (str(tmp_path / "none"), [])):
        monkeypatch.setattr("perdure.sandbox.supervision.mounts.LIST", known)
        launching = Launching()
        assert launching.start(os.fsencode(tmp_path)) == 1
        launching._due = 0.0
        launching.chores()
        assert made == waits
        made.clear()
        for fd in {launching.news, launching.tell, launching.mounts.fd} - {-1}:
            os.close(fd)
