"""Every template of the house."""

import re
from pathlib import Path

import pytest
from flask import Flask
from jinja2 import nodes

from webapp.core.settings import PROJECT_ROOT

FOLDER = PROJECT_ROOT / "templates"
TEMPLATES = sorted(path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*.html"))
WEB = [name for name in TEMPLATES if not name.startswith("mail/")]  # mail has no style sheets
PAGES = [name for name in WEB if not Path(name).name.startswith("_") and name != "base.html"]


def test_there_are_templates() -> None:
    assert len(PAGES) > 5


@pytest.mark.parametrize("name", TEMPLATES)
def test_it_compiles_and_every_name_it_uses_exists(app: Flask, name: str) -> None:
    tree = app.jinja_env.parse((FOLDER / name).read_text())
    app.jinja_env.get_template(name)
    for wanted in tree.find_all((nodes.Extends, nodes.FromImport, nodes.Include)):
        if isinstance(wanted.template, nodes.Const):
            assert wanted.template.value in TEMPLATES


@pytest.mark.parametrize("name", PAGES)
def test_a_page_extends_the_base_and_has_a_title(name: str) -> None:
    text = (FOLDER / name).read_text()
    alone = name == "errors/500.html"  # it must work when the base does not
    assert alone or '{% extends "base.html" %}' in text
    assert alone or "{% block title %}" in text


@pytest.mark.parametrize("name", WEB)
def test_nothing_is_written_into_the_page_that_its_policy_forbids(name: str) -> None:
    text = (FOLDER / name).read_text()
    assert not re.search(r"<script(?![^>]*\bsrc=)", text)
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:|hx-on|js:", text)
    assert not re.search(r"#[0-9a-fA-F]{6}\b", text), "colours live in app.css"


@pytest.mark.parametrize("name", TEMPLATES)
def test_an_imported_macro_is_one_that_exists(app: Flask, name: str) -> None:
    tree = app.jinja_env.parse((FOLDER / name).read_text())
    for imported in tree.find_all(nodes.FromImport):
        if isinstance(imported.template, nodes.Const):
            module = app.jinja_env.parse((FOLDER / imported.template.value).read_text())
            defined = {macro.name for macro in module.find_all(nodes.Macro)}
            asked = {one if isinstance(one, str) else one[0] for one in imported.names}
            assert asked <= defined
