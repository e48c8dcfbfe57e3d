"""`python -m benchmarks`: everything, or the rows named."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from . import report
from .lab import ROOT, opened
from .rows import ROWS

PAGE = ROOT / "docs" / "benchmarks.md"


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=", ".join(ROWS))
    parser.add_argument("--quick", action="store_true", help="fewer runs, shorter rows")
    parser.add_argument("--no-peers", action="store_true", help="only Perdure and floors")
    parser.add_argument("--json", type=Path, metavar="FILE", help="all runs, for programs")
    parser.add_argument("--write-docs", action="store_true", help="put the tables into docs/")
    given = parser.parse_args()
    if unknown := [key for key in given.rows if key not in ROWS]:
        parser.error(f"no row {unknown[0]!r}; there are {', '.join(ROWS)}")
    if given.write_docs and given.rows:
        parser.error("--write-docs writes the whole page: name no rows")
    sys.path.insert(0, str(ROOT / "src"))
    done = []
    with opened(quick=given.quick, with_peers=not given.no_peers) as lab:
        for key in given.rows or ROWS:
            row = ROWS[key](lab)
            row.run(_say)
            _say("")
            print(report.table(row), flush=True)
            done.append(row)
    facts = report.machine()
    if given.json:
        given.json.write_text(json.dumps(report.as_json(done, facts), indent=1) + "\n")
    if given.write_docs:
        report.write(PAGE, report.document(done, facts, quick=given.quick))
    return 0


def _say(text: str) -> None:
    """What is going on, on one line that goes away."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
    elif text:
        print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
