"""Parameters that several routes take. Their patterns are checked before anything else happens, so
that no id of a strange form reaches the runtime or a file name."""

from __future__ import annotations

from typing import Annotated

from ..parameters import Path, Query

API = "/api/v1"
SESSION = r"^[a-z0-9][a-z0-9_-]{0,63}$"

Session = Annotated[
    str,
    Path(
        pattern=SESSION,
        description="Id of a session.",
        examples=["s_01kazh2v6e8m9qrt"],
    ),
]
Agent = Annotated[
    str,
    Path(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$",
        description="Name of an agent.",
        examples=["main"],
    ),
]
Approval = Annotated[
    str,
    Path(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,79}$",
        description="Id of an approval.",
        examples=["a_01kazh2v6e8m9qrt"],
    ),
]
CheckpointId = Annotated[
    str,
    Path(
        pattern=SESSION,
        description="Id of a checkpoint.",
        examples=["c_01kazh2v6e8m9qrt"],
    ),
]
Artifact = Annotated[
    str,
    Path(
        pattern=r"^[0-9a-f]{64}(\.[a-z0-9]{1,12})?$",
        description="Id of an artifact: the SHA-256 of its content and an extension.",
        examples=["b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9.txt"],
    ),
]
After = Annotated[
    int,
    Query(
        ge=0,
        le=2**53,
        description="Only records with a greater sequence number.",
    ),
]
