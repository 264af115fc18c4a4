"""make torture: kill the server at many points and print what became of the events."""

import argparse
import sys
import time

from tests.torture.rounds import Report, run


def table(report: Report) -> str:
    """Return the figures as text."""
    lines = [f"{'point':<24}{'asked':>8}{'reached':>9}{'killed':>8}"]
    for name, tally in sorted(report.tallies.items()):
        reached = "" if name.startswith("instant") else str(tally.reached)
        lines.append(f"{name:<24}{tally.asked:>8}{reached:>9}{tally.killed:>8}")
    figures = {
        "kills": f"{report.kills} ({report.by_itself} by the process itself at a point, "
        f"{report.by_the_parent} by its parent at a random instant; "
        f"{report.escaped} instants came too late)",
        "upgrades": f"{report.upgrades} to a newer revision, with data in the tables",
        "looks": f"{report.looks}, one after each kill and each start; "
        f"the database was whole at {report.integrity}",
        "events": f"{report.events} with {report.deliveries} deliveries",
        "lost": f"{report.lost}",
        "strangers": f"{report.strangers} messages with an id that no delivery has",
        "duplicates": f"{report.duplicates}; {report.in_flight} were allowed: "
        "sent and not yet recorded at a kill",
        "worst": f"{report.worst} copies of one delivery, {report.bound} were allowed of it",
        "beyond the bound": f"{report.beyond} deliveries",
    }
    lines += ["", *(f"{name:<18}{figure}" for name, figure in figures.items())]
    return "\n".join([*lines, "", *report.problems, "holds" if report.holds else "BROKEN"])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=200, help="how many kills")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", nargs="*", default=(), help="only these points")
    parser.add_argument("--database", help="address of an empty database; default: SQLite")
    given = parser.parse_args()
    began = time.monotonic()
    report = run(given.points, given.seed, database=given.database, only=given.only)
    print(table(report))
    print(f"{time.monotonic() - began:.0f} s, seed {given.seed}")
    return 0 if report.holds else 1


if __name__ == "__main__":
    sys.exit(main())
