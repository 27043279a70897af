"""A check's report, for people and as plain values."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from artquant.check.check import FileSummary, Report
from artquant.check.findings import KINDS, Finding

EXAMPLES = 5  # findings of a kind that are shown unless all are


def as_dict(report: Report, strict: bool = False) -> dict[str, Any]:
    """Everything, for JSON."""
    return {
        "checked": report.name,
        "verdict": verdict(report, strict),
        "errors": report.errors,
        "warnings": report.warnings,
        "counts": report.counts,
        "files": [asdict(file) for file in report.files],
        "pictures": vars(report.pictures) | {"formats": dict(report.pictures.formats)},
        "not_checked": list(report.not_checked),
        "findings": [found.to_dict() for found in report.findings],
        "seconds": round(report.seconds, 3),
    }


def verdict(report: Report, strict: bool = False) -> str:
    """One word: "faulty", "usable" (there are warnings) or "clean"."""
    if report.errors or (strict and report.findings):
        return "faulty"
    return "usable" if report.findings else "clean"


def as_text(report: Report, strict: bool = False, examples: int | None = EXAMPLES) -> str:
    """A summary to read; `examples` of each kind are shown, all of them with None."""
    lines = [f"Checked {report.name} in {report.seconds:.1f} s", "", *_files(report.files), "", _pictures(report)]
    for severity, heading in (("error", "Errors"), ("warning", "Warnings")):
        kinds = [kind for kind in report.counts if KINDS[kind].severity == severity]
        if kinds:
            lines += ["", f"{heading}:"]
        for kind in kinds:
            lines += _kind(kind, [found for found in report.findings if found.kind == kind], examples)
    if report.not_checked:
        lines += ["", "Not checked:", *(f"  {what}" for what in report.not_checked)]
    return "\n".join([*lines, "", _verdict(report, strict)])


def _files(files: tuple[FileSummary, ...]) -> list[str]:
    rows: list[tuple[str, ...]] = [("file", "split", "records", "pictures", "scores", "tokens at most")]
    for file in files:
        scores = "" if file.scores is None else f"{file.scores[0]:g} to {file.scores[1]:g}"
        tokens = "" if file.longest is None else f"{file.longest:,}"
        rows.append((file.file, file.split, f"{file.records:,}", f"{file.pictures:,}", scores, tokens))
    if all(not row[-1] for row in rows[1:]):
        rows = [row[:-1] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    right = (False, False, True, True, True, True)
    return [
        "  ".join(
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(row, widths, right, strict=False)
        ).rstrip()
        for row in rows
    ]


def _pictures(report: Report) -> str:
    pictures = report.pictures
    line = f"Pictures: {pictures.named:,} named, {pictures.read:,} read"
    if pictures.longer_side is None:
        return line
    formats = ", ".join(f"{count:,} {name}" for name, count in pictures.formats.most_common())
    low, high = pictures.longer_side
    side = f"{low:,}" if low == high else f"{low:,} to {high:,}"
    return f"{line} ({formats}; longer side {side} pixels)"


def _kind(kind: str, findings: list[Finding], examples: int | None) -> list[str]:
    shown = findings if examples is None else findings[:examples]
    lines = [f"  {KINDS[kind].title} ({len(findings):,})"]
    for found in shown:
        picture = f", picture {found.picture}" if found.file is not None and found.picture is not None else ""
        lines += [f"    {found.where}{picture}", f"      {found.message}"]
    if len(shown) < len(findings):
        lines.append(f"    ... and {len(findings) - len(shown):,} more; --all shows them, --json has them")
    return lines


def _verdict(report: Report, strict: bool) -> str:
    counted = f"{_count(report.errors, 'error')}, {_count(report.warnings, 'warning')}"
    if report.errors:
        return f"{counted}: correct the errors before training or scoring"
    if not report.findings:
        return "No errors, no warnings"
    return f"{counted}: {'warnings count (--strict)' if strict else 'usable; read the warnings'}"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" + ("" if number == 1 else "s")
