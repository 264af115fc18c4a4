"""make torture: kill the server at many points and print what became of the events."""

import argparse
import sys
import time

from tests.torture.rounds import run


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    began = time.monotonic()
    report = run(given.points, given.seed)
    print(f"{'killed at':<28}times")
    for point, times in sorted(report.kills.items()):
        print(f"{point:<28}{times:>5}")
    print(
        f"\n{sum(report.kills.values())} rounds in {time.monotonic() - began:.0f} s: "
        f"{report.events} events, {report.deliveries} deliveries, {report.lost} lost, "
        f"{report.duplicates} duplicates (at most {report.worst} copies of one), "
        f"{report.strangers} with a strange id, integrity {report.integrity}"
    )
    return 0 if report.holds else 1


if __name__ == "__main__":
    sys.exit(main())
