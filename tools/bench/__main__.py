"""Measures one after the other and prints the table."""

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tools import vendor_htmx
from tools.bench import alertmanager, browser
from tools.bench.figures import Table, median, p99
from tools.bench.peer import Peer
from tools.bench.server import (
    DBACKUP,
    EMAIL,
    PASSWORD,
    Instance,
    Session,
    free_port,
    resident_mb,
    serving,
)
from webapp.core.settings import PROJECT_ROOT

STARTS: Final = 7
PAGES: Final = 300
TOGGLES: Final = 600
MESSAGES: Final = 150
EVENTS: Final = 223  # of nine deliveries each: 2,007
QUEUE: Final = 2_000  # events for one channel whose peer answers at once
ROUNDS: Final = 3  # of the queue and of plain posts, in turns
ALERTS_AT_ONCE: Final = 64  # as Prometheus hands them to Alertmanager
SLOW: Final = 0.2  # seconds that each of nine channels takes
MORE_EVENTS: Final = 2_223  # of nine deliveries each: 20,007
SHORT_HISTORY: Final = 1000
LONG_HISTORY: Final = 1_000_000
PAGE: Final = "/settings/notifications"
TOGGLE: Final = f"{PAGE}/events/user_login/toggle"


def main() -> int:
    """Print the figures; return 0 whatever they are: milliseconds gate nothing."""
    table = Table()
    with tempfile.TemporaryDirectory(prefix="dbackup-bench-") as folder:
        instance = Instance(Path(folder) / "instance", free_port())
        peer = Peer()
        print("Preparing a scratch instance with nine channels …", flush=True)
        instance.dbackup(
            "users", "add", EMAIL, "--role", "admin", "--password-stdin", stdin=f"{PASSWORD}\n"
        )
        instance.python("tools.bench.fill", "channels", peer.url)
        htmx = _htmx(Path(folder))
        _start(table, instance)
        _serve(table, instance, peer, Path(folder), htmx)
        _deliver(table, Path(folder))
        _dispatch(table, Path(folder))
        _history(table, Path(folder))
    print(f"\n{table}")
    return 0


def _start(table: Table, instance: Instance) -> None:
    times = []
    for _ in range(STARTS):
        with serving([str(DBACKUP), "serve"], instance.port, instance.environ) as (_, took):
            times.append(took)
    table.add("start to first answer", median(times), "s", goal=1.0, digits=2)


def _serve(table: Table, instance: Instance, peer: Peer, folder: Path, htmx: bytes) -> None:
    with serving([str(DBACKUP), "serve"], instance.port, instance.environ) as (pid, _):
        time.sleep(3)
        table.add("memory, idle", resident_mb(pid), "MB", goal=110, digits=0)
        session = Session(instance.port)
        session.sign_in()
        size = len(session.get(PAGE)) / 1024
        pages = _timed(lambda _: session.get(PAGE), PAGES)
        toggles = _timed(lambda turn: session.post(TOGGLE, enabled=str(turn % 2)), TOGGLES)
        painted = _clicks(table, f"http://127.0.0.1:{instance.port}{PAGE}", htmx, session.cookie)
        instance.python("tools.bench.fill", "publish", str(EVENTS))
        peer.wait(EVENTS * 9, seconds=120)
        rate = EVENTS * 9 / (max(peer.arrived) - min(peer.arrived))
        time.sleep(2)
        loaded = resident_mb(pid)
        instance.python("tools.bench.fill", "publish", str(MORE_EVENTS))
        peer.wait((EVENTS + MORE_EVENTS) * 9, seconds=300)
        time.sleep(2)
        grown = resident_mb(pid) - loaded
    bare_pages, bare_toggles, bare_painted = _bare(folder, size, htmx)
    table.add("page", median(pages), "ms", goal=6, bare=median(bare_pages), digits=2)
    table.add("page, size", size, "KB", goal=60)
    table.add("toggle", median(toggles), "ms", goal=3, bare=median(bare_toggles), digits=2)
    table.add("toggle, p99", p99(toggles), "ms", goal=12, bare=p99(bare_toggles), digits=2)
    if painted:
        table.add(
            "click to painted swap", median(painted), "ms", goal=60, bare=median(bare_painted)
        )
    table.add(f"memory after {EVENTS * 9} deliveries", loaded, "MB", goal=130, digits=0)
    table.add(f"memory, {MORE_EVENTS * 9} deliveries later", grown, "MB", goal=20, digits=0)
    table.add("messages arrived", rate, "a second", digits=0)


def _bare(folder: Path, size: float, htmx: bytes) -> tuple[list[float], list[float], list[float]]:
    port = free_port()
    command = [sys.executable, "-m", "tools.bench.bare", str(port), str(folder), str(size)]
    with serving(command, port, {"PATH": "/usr/bin:/bin"}):
        session = Session(port)
        session.get("/")
        pages = _timed(lambda _: session.get("/"), PAGES)
        toggles = _timed(lambda _: session.post("/toggle/1"), TOGGLES)
        painted = _clicks(None, f"http://127.0.0.1:{port}/", htmx, selector="#form-1 button")
    return pages, toggles, painted


def _clicks(
    table: Table | None,
    url: str,
    htmx: bytes,
    cookie: str = "",
    selector: str = "#event-user_login form[action$='/toggle'] button",
) -> list[float]:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None or not htmx:
        if table is not None:
            missing = "Chromium" if chromium is None else "the package htmx.org"
            table.leave_out("click to painted swap", f"{missing} is not here")
        return []
    with browser.opened(chromium, url, htmx, cookie) as page:
        return browser.clicks(page, selector)


def _deliver(table: Table, folder: Path) -> None:
    peer = Peer()
    instance = Instance(folder / "commits", free_port())
    instance.dbackup("users", "list")
    committed = json.loads(instance.python("tools.bench.commits", peer.url, str(MESSAGES)))
    took = [
        (arrived - at) * 1000 for at, arrived in zip(committed, sorted(peer.arrived), strict=True)
    ]
    table.add("commit to received", median(took[10:]), "ms", goal=2.4, digits=2)
    rival = alertmanager.program()
    if rival is not None:
        theirs = alertmanager.milliseconds(rival, folder / "alertmanager", Peer(), MESSAGES)
        ratio = median(took[10:]) / median(theirs[10:])
        what = f"commit to received / of Alertmanager ({median(theirs[10:]):.2f} ms)"
        table.add(what, ratio, "×", goal=1.0, digits=2)
    table.add("commit to received, p99", p99(took[10:]), "ms", digits=2)


def _dispatch(table: Table, folder: Path) -> None:
    """Compare the durable queue with plain posts and with Alertmanager, in turns; then nine slow
    channels.
    """
    ratios, plain_rates, fans, added = [], [], [], []
    others: dict[int, list[float]] = {1: [], ALERTS_AT_ONCE: []}
    rival = alertmanager.program()
    for turn in range(ROUNDS):
        plain = Peer()
        subprocess.run(
            [sys.executable, "-m", "tools.bench.plain", plain.url, str(QUEUE)],
            cwd=PROJECT_ROOT,
            check=True,
        )
        plain_rates.append(_rate(plain))
        fast, slow = Peer(), Peer(answers_after=SLOW)
        instance = Instance(folder / f"dispatch-{turn}", free_port())
        instance.dbackup("users", "list")
        with instance.started("tools.bench.dispatch", fast.url, slow.url, str(QUEUE)) as process:
            fast.wait(QUEUE, seconds=120)
            found = json.loads(process.communicate("\n", timeout=120)[0])
        ratios.append(_rate(fast) / plain_rates[-1])
        for at_once, ratio in others.items() if rival else ():
            theirs = Peer()
            scratch = folder / f"alertmanager-{turn}-{at_once}"
            alertmanager.send(str(rival), scratch, theirs, QUEUE, at_once=at_once)
            ratio.append(_rate(fast) / _rate(theirs))
        added.append(found["publish"])
        fans += [
            (max(slow.arrived[number * 9 : number * 9 + 9]) + SLOW - at) * 1000
            for number, at in enumerate(found["committed"])
        ]
    what = f"{QUEUE} events, durably / posts of four threads ({median(plain_rates):.0f} a second)"
    table.add(what, median(ratios), "×", at_least=1.0, digits=2)
    for at_once, ratio in others.items():
        what = f"{QUEUE} events, durably / by Alertmanager, handed over {at_once} at once"
        if ratio:
            goal = 1.0 if at_once == 1 else None
            table.add(what, median(ratio), "×", at_least=goal, digits=2)
        else:
            table.leave_out(what, "Alertmanager is not installed")
    table.add("nine channels of 200 ms, commit to last answer", median(fans), "ms", goal=225)
    table.add("publish adds to a transaction", median(added), "ms", goal=3, digits=2)


def _rate(peer: Peer) -> float:
    return len(peer.arrived) / (max(peer.arrived) - min(peer.arrived))


def _history(table: Table, folder: Path) -> None:
    """Ask the same of a short and of a long history, one after the other."""
    found = []
    for old in (SHORT_HISTORY, LONG_HISTORY):
        instance = Instance(folder / f"history-{old}", free_port())
        instance.dbackup("users", "list")
        found.append(json.loads(instance.python("tools.bench.history", str(old))))
    short, long = found
    for name, took in long.items():
        what = f"{name}, {LONG_HISTORY:,} deliveries ({took:.1f} ms) / {SHORT_HISTORY:,}"
        table.add(what, took / short[name], "×", goal=1.5, digits=2)


def _timed(act: Callable[[int], object], count: int) -> list[float]:
    """Return the milliseconds of each turn; the first tenth warms up and is left out."""
    times = []
    for turn in range(count):
        began = time.perf_counter()
        act(turn)
        times.append((time.perf_counter() - began) * 1000)
    return times[count // 10 :]


def _htmx(folder: Path) -> bytes:
    try:
        content = vendor_htmx.fetch()
    except (OSError, subprocess.SubprocessError):
        return b""
    (folder / "htmx.js").write_bytes(content)
    return content


if __name__ == "__main__":
    sys.exit(main())
