"""Collects figures and prints them as a table."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field


def median(values: Sequence[float]) -> float:
    """Return the median."""
    return statistics.median(values)


def p99(values: Sequence[float]) -> float:
    """Return the value that 99 of 100 do not exceed."""
    return sorted(values)[math.ceil(0.99 * len(values)) - 1]


@dataclass
class Table:
    """What is printed at the end."""

    rows: list[tuple[str, str, str, str, str]] = field(default_factory=list)

    def add(
        self,
        what: str,
        value: float,
        unit: str,
        *,
        goal: float | None = None,
        at_least: float | None = None,
        bare: float | None = None,
        digits: int = 1,
    ) -> None:
        """Add one figure; `bare` is the same of a bare Flask application, for the ratio.

        A goal is what the figure must not exceed, unless it is given as `at_least`.
        """
        wanted, held = "", ""
        if goal is not None:
            wanted, held = f"≤ {goal:g} {unit}", "yes" if value <= goal else "NO"
        elif at_least is not None:
            wanted, held = f"≥ {at_least:g} {unit}", "yes" if value >= at_least else "NO"
        self.rows.append(
            (
                what,
                f"{value:.{digits}f} {unit}",
                wanted,
                held,
                "" if bare is None else f"{value / bare:.1f} × bare ({bare:.{digits}f} {unit})",
            )
        )
        print(f"  {what}: {value:.{digits}f} {unit}", flush=True)

    def leave_out(self, what: str, why: str) -> None:
        """Say what could not be measured."""
        self.rows.append((what, "left out", "", "", why))

    def __str__(self) -> str:
        table = [("", "figure", "goal", "held", "ratio"), *self.rows]
        widths = [max(len(row[column]) for row in table) for column in range(5)]
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in table
        )
