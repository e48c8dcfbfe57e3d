"""Results as a Markdown table, the same on the terminal and in docs/benchmarks.md, and as JSON."""

from __future__ import annotations

import os
import platform
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .lab import Column, Contestant, Limit, Row

BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"


def table(row: Row) -> str:
    """The first column's range over the runs stands beside it, and its ratio to Perdure's."""
    shown = [c for c in row.columns if any(x.results for x in row.contestants)]
    lead = row.columns[0]
    own = next((c for c in row.contestants if c.kind == "perdure"), None)
    base = own.median(lead.fact) if own is not None and len(row.contestants) > 1 else None
    head = ["", *(c.title for c in shown), "range"]
    if base:
        head.append("to Perdure's")
    lines = [f"| {' | '.join(head)} |", "|---" + "|---:" * (len(head) - 1) + "|"]
    skipped = []
    for contestant in row.contestants:
        if not contestant.results:
            skipped.append(f"{contestant.name}: {contestant.skipped or 'no result'}")
            continue
        cells = [_name(contestant), *(_cell(contestant, c) for c in shown)]
        cells.append(_range(contestant, lead))
        if base:
            value = contestant.median(lead.fact)
            cells.append("" if value is None else f"{value / base:.2f}×")
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", *verdicts(row)]
    lines += [f"Skipped: {why}." for why in skipped]
    return f"### {row.title}\n\n{row.about}\n\n" + "\n".join(lines).rstrip() + "\n"


def _name(contestant: Contestant) -> str:
    return f"**{contestant.name}**" if contestant.kind == "perdure" else contestant.name


def _cell(contestant: Contestant, column: Column) -> str:
    value = contestant.median(column.fact)
    if value is None:
        return "–"
    return f"{value:,.{column.digits}f}"


def _range(contestant: Contestant, column: Column) -> str:
    values = contestant.values(column.fact)
    if len(values) < 2:
        return ""
    return f"{values[0]:,.{column.digits}f}–{values[-1]:,.{column.digits}f}"


def verdicts(row: Row) -> list[str]:
    lines = []
    for limit in row.limits:
        met, text = judge(row, limit)
        if met is not None:
            lines.append(f"- {'reached' if met else '**missed**'}: {text}")
    return [*lines, ""] if lines else []


def judge(row: Row, limit: Limit) -> tuple[bool | None, str]:
    """(whether it holds, or None when it was not measured; what was demanded and found)."""
    by_name = {c.name: c for c in row.contestants}
    column = next(c for c in row.columns if c.fact == limit.fact)
    value = by_name[limit.who].median(limit.fact) if limit.who in by_name else None
    if value is None:
        return None, ""
    bound = limit.most if limit.most is not None else limit.least
    assert bound is not None
    demanded = f"{bound:g}"
    if limit.times:
        other = by_name[limit.times].median(limit.fact)
        if other is None:
            return None, ""
        demanded, bound = f"{bound:g} × {limit.times}", bound * other
    sign = "≤" if limit.most is not None else "≥"
    met = value <= bound if limit.most is not None else value >= bound
    unit = f"{value:,.{column.digits}f}"
    return met, f"{limit.who}, {column.title}: {unit} (demanded {sign} {demanded})"


def machine() -> dict[str, str]:
    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    return {
        "at": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "cpu": f"{os.cpu_count()} × {cpu}",
        "kernel": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load": " ".join(f"{x:.1f}" for x in os.getloadavg()),
    }


def document(rows: list[Row], facts: dict[str, str], *, quick: bool) -> str:
    lines = [
        f"Measured {facts['at']}: {facts['cpu']}, {facts['kernel']}, Python {facts['python']}; load "
        f"average {facts['load']} when it ended."
        + (" A quick run: fewer runs, shorter rows." if quick else ""),
        "",
    ]
    missed = [text for row in rows for met, text in (judge(row, x) for x in row.limits) if not met]
    missed = [text for text in missed if text]
    lines += (
        ["**Falls short:**", "", *(f"- {text}" for text in missed)]
        if missed
        else ["Every demand that was measured is met."]
    )
    lines += ["", *(table(row) for row in rows)]
    return "\n".join(lines)


def write(page: Path, results: str) -> None:
    """Put the results between the page's markers."""
    text = page.read_text()
    pattern = re.compile(re.escape(BEGIN) + ".*?" + re.escape(END), re.DOTALL)
    if not pattern.search(text):
        raise SystemExit(f"{page} has no {BEGIN} … {END}")
    page.write_text(pattern.sub(lambda _: f"{BEGIN}\n{results.strip()}\n{END}", text, count=1))


def as_json(rows: list[Row], facts: dict[str, str]) -> dict[str, Any]:
    return {
        "machine": facts,
        "rows": {
            row.key: {
                "title": row.title,
                "contestants": [
                    {
                        "name": c.name,
                        "kind": c.kind,
                        "skipped": c.skipped,
                        "runs": c.results,
                        "median": {f: c.median(f) for f in sorted(set().union(*c.results))},
                    }
                    for c in row.contestants
                ],
                "limits": [
                    {"reached": met, "text": text}
                    for met, text in (judge(row, limit) for limit in row.limits)
                    if met is not None
                ],
            }
            for row in rows
        },
    }
