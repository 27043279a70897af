"""What a page must have for those who do not see it, or not well."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

from browser import Page

NAMED = {"button", "link", "textbox", "combobox", "checkbox", "radio", "image", "dialog", "group", "region"}
TWICE = "[...document.querySelectorAll('[id]')].map(one => one.id).filter((id, at, all) => all.indexOf(id) !== at)"
AXE = """axe.run(document, {resultTypes: ['violations']}).then(found => found.violations.map(
    one => `${one.id}: ${one.help} ${one.nodes.map(node => node.target + ' ' + node.failureSummary).join('; ')}`))"""


def axe_core() -> Path | None:
    """The script of axe-core: $AXE_CORE, or as a package holds it."""
    if "AXE_CORE" in os.environ:
        return Path(os.environ["AXE_CORE"])
    for package in ("axe_playwright_python", "axe_core_python"):
        found = find_spec(package)
        if found is not None and found.origin is not None:
            return Path(found.origin).parent / "axe.min.js"
    return None


def faults(page: Page) -> list[str]:
    """What has no name in the browser's accessibility tree, ids given twice; where axe-core is, all that it finds."""
    page.send("Accessibility.enable")
    nodes = page.send("Accessibility.getFullAXTree")["nodes"]
    roles = [(one["role"]["value"], one.get("name", {}).get("value", "")) for one in nodes if not one["ignored"]]
    found = [f"a {role} without a name" for role, name in roles if role in NAMED and not name.strip()]
    found += [f"id {one} twice" for one in page.run(TWICE)]
    missing = {"banner", "main", "contentinfo"} - {role for role, _ in roles} if not page.run(_IN_DIALOG) else set()
    found += [f"no {landmark}" for landmark in missing]
    script = axe_core()
    if script is not None:
        page.run(f"typeof axe === 'object' || ({{}}, {_run_once(script)})")
        found += page.run(AXE)
    return found


_IN_DIALOG = "document.querySelector('dialog[open]') !== null"  # what lies behind is not in the tree then


def _run_once(script: Path) -> str:
    return f"(() => {{ {script.read_text(encoding='utf-8')} \n}})()"
