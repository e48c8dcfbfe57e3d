"""Where the workspace is, and which of its files the terminal reads or writes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from perdure.cli.problems import WORKSPACE, Problem, no_workspace

if TYPE_CHECKING:
    from perdure.agents import Workspace

CONFIG = "perdure.yaml"
PRIVATE = ".perdure"


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    root: Path
    """Folder of perdure.yaml, absolute."""
    default_agent: str = "default"
    wrong: Exception | None = None
    """Why its perdure.yaml cannot be used."""

    @property
    def state(self) -> Path:
        return self.root / PRIVATE

    @property
    def server_file(self) -> Path:
        """Written by a listening server: where, and with which token."""
        return self.state / "run" / "server.json"

    @property
    def server_lock(self) -> Path:
        """Locked by the server as long as it lives, and by nothing else."""
        return self.state / "run" / "server.lock"

    @property
    def server_log(self) -> Path:
        return self.state / "run" / "server.log"

    @property
    def history(self) -> Path:
        """What was typed in the chat."""
        return self.state / "run" / "history"


class Gone(Problem):
    """A workspace without its file."""

    def __init__(self, root: Path) -> None:
        super().__init__(
            f"{root / CONFIG} is gone; {root / PRIVATE} is there.",
            hint="Put it back from a copy; with no more than `apiVersion: perdure/v1` in it, all is as by "
            "default.\nA server that runs goes on with what it said: perdure serve status",
            code=WORKSPACE,
        )
        self.root = root


def locate(option: str | None) -> Place:
    """The workspace to use. Raises Problem when there is none, Gone when only its file is missing."""
    if option:
        root = Path(option).expanduser().resolve()
        _check_file(root / CONFIG)
        if not (root / CONFIG).is_file():
            if (root / PRIVATE).is_dir():
                raise Gone(root)
            raise Problem(
                f"{root} is no workspace: it holds no {CONFIG}.",
                hint=f"Create one there: perdure init {option}",
                code=WORKSPACE,
            )
        from perdure.agents import open_workspace

        return _place(open_workspace(root))
    from perdure.agents import find_workspace

    found = find_workspace(Path.cwd(), os.environ)
    if found is None:
        for folder in (Path.cwd(), *Path.cwd().parents):
            _check_file(folder / CONFIG)
        if (left := _left()) is not None:
            raise Gone(left)
        raise no_workspace()
    _check_author(found.root)
    return _place(found)


def locate_server(option: str | None) -> Place:
    """As `locate`, but a perdure.yaml that is wrong or gone does not matter: a server can run beside it."""
    from perdure.kernel.errors import ConfigError

    try:
        # A workspace whose file is gone is not to be taken for one further up, or the home's.
        if not option and (root := _left(running=True)) is not None:
            raise Gone(root)
        return locate(option)
    except (ConfigError, Gone) as error:
        from perdure.agents import Refused, home_folder

        if isinstance(error, Refused):
            raise
        if option:
            return Place(root=Path(option).expanduser().resolve(), wrong=error)
        if isinstance(error, Gone):
            _check_author(error.root)
            return Place(root=error.root, wrong=error)
        for folder in (Path.cwd(), *Path.cwd().parents):
            if (folder / CONFIG).is_file():
                if folder.joinpath(CONFIG).stat().st_uid != os.getuid():
                    raise
                _check_author(folder)
                return Place(root=folder, wrong=error)
        return Place(root=home_folder(os.environ), wrong=error)


def _left(*, running: bool = False) -> Path | None:
    """The nearest folder that was a workspace of this user's, and whose file is gone. `running`: of which a
    server says where it listens. Within another workspace there is none: a command can have made it."""
    from perdure.agents import home_folder

    upwards = (Path.cwd(), *Path.cwd().parents)
    if running and any((folder / CONFIG).exists() for folder in upwards):
        return None
    for folder in upwards if running else (*upwards, home_folder(os.environ)):
        mark = folder / PRIVATE / "run" / "server.json" if running else folder / PRIVATE
        try:
            if mark.lstat().st_uid == os.getuid() and (mark.is_file() or mark.is_dir()):
                return folder
        except OSError:
            continue
    return None


def _check_file(path: Path) -> None:
    """Raises Problem when something is there that cannot be a workspace's file."""
    if path.exists() and not path.is_file():
        what = "a folder" if path.is_dir() else "not a regular file"
        raise Problem(
            f"{path} is {what}; it should be the workspace's file.",
            hint=f"Move it away, then: perdure init {path.parent}",
            code=WORKSPACE,
        )


def _check_author(root: Path) -> None:
    """Raises Refused where others wrote what makes it a workspace."""
    from perdure.agents import Refused
    from perdure.storage.attributes import read

    file, private = root / CONFIG, root / PRIVATE
    for path in (file, private):
        label = read(str(path))
        book = root if label is not None and label.tainted else None
        if book is None and path == (file if file.exists() else private):
            book = _noted(path)
        if book is not None:
            raise Refused(
                "was written with what others said at hand; opening this workspace would run the hooks "
                "and tools in it",
                file=str(path),
                hint=f"If you trust it, name it: --workspace {root}; for good: "
                f"perdure --workspace {book} label clear {path}",
            )


def _noted(file: Path) -> Path | None:
    """The home workspace, whose agents work wherever there is no other, if its book says that a command of
    theirs wrote this: of a file that does not say so itself, as where files keep no attributes."""
    from perdure.agents import home_folder

    private = Path(os.path.realpath(home_folder(os.environ) / ".perdure"))
    path = Path(os.path.realpath(file))
    if path.parent == private.parent or not (private / "labels.sqlite").exists():
        return None
    from perdure.runtime.labelling import file_labels

    labels = file_labels(private)
    try:
        return private.parent if labels.of(path).tainted else None
    finally:
        labels.close()


def _place(workspace: Workspace) -> Place:
    return Place(root=workspace.root, default_agent=workspace.config.default_agent)
