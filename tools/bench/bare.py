"""Run as a process: a bare Flask application of the same page size, for the ratios.

One table of 40 rows in SQLite, one page that prints them, one toggle that commits. No login, no
CSRF, no headers, no htmx events.
"""

import sqlite3
import sys
from pathlib import Path

from flask import Flask, g, render_template_string, request
from flask.typing import ResponseReturnValue
from waitress import serve

ROWS = 40
PAGE = """<!doctype html>
<html lang="en"><head><title>Bare</title>
{% if htmx %}<script src="/htmx.js" defer></script>{% endif %}</head><body><main>
{% for row in rows %}<section id="row-{{ row.id }}"><h2>{{ row.name }}</h2>
<p>{{ row.words }}</p>{{ toggle(row) }}</section>{% endfor %}</main></body></html>"""
TOGGLE = """{% macro toggle(row) %}<form id="form-{{ row.id }}" method="post"
action="/toggle/{{ row.id }}" hx-post="/toggle/{{ row.id }}" hx-target="this"
hx-swap="outerHTML"><button>{{ "on" if row.is_on else "off" }}</button></form>{% endmacro %}"""


def make(database: Path, kilobytes: float, htmx: bytes) -> Flask:
    """Return the application; its page has about that size."""
    app = Flask(__name__)
    filler = "x" * max(int(kilobytes * 1024 / ROWS) - 260, 1)
    with sqlite3.connect(database) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE item (id INTEGER PRIMARY KEY, name, words, is_on)")
        rows = ((f"Item {number}", filler) for number in range(ROWS))
        connection.executemany("INSERT INTO item (name, words, is_on) VALUES (?, ?, 0)", rows)
    connection.close()

    def look() -> sqlite3.Connection:
        if "connection" not in g:
            g.connection = sqlite3.connect(database)
            g.connection.execute("PRAGMA synchronous=FULL")
            g.connection.row_factory = sqlite3.Row
        return g.connection

    @app.teardown_appcontext
    def close(_error: BaseException | None) -> None:
        if "connection" in g:
            g.connection.close()

    @app.get("/login")
    @app.get("/")
    def page() -> ResponseReturnValue:
        rows = look().execute("SELECT * FROM item").fetchall()
        return render_template_string(TOGGLE + PAGE, rows=rows, htmx=bool(htmx))

    @app.post("/toggle/<int:item_id>")
    def toggle(item_id: int) -> ResponseReturnValue:
        assert request.form is not None
        with look() as connection:
            connection.execute("UPDATE item SET is_on = 1 - is_on WHERE id = ?", (item_id,))
        row = look().execute("SELECT * FROM item WHERE id = ?", (item_id,)).fetchone()
        return render_template_string(TOGGLE + "{{ toggle(row) }}", row=row)

    @app.get("/htmx.js")
    def script() -> ResponseReturnValue:
        return htmx, {"Content-Type": "text/javascript"}

    return app


if __name__ == "__main__":
    port, folder, size = int(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])
    script_file = folder / "htmx.js"
    serve(
        make(folder / "bare.db", size, script_file.read_bytes() if script_file.exists() else b""),
        host="127.0.0.1",
        port=port,
        threads=8,
    )
