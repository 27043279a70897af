"""The OpenAPI description as one plain page, which needs nothing from elsewhere."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from typing import Any

_STYLE = "body{font:16px/1.5 system-ui;max-width:60rem;margin:2rem auto;padding:0 1rem}pre{overflow:auto}"


def documentation(description: Mapping[str, Any]) -> str:
    """HTML of `/openapi.json`: each route with what it says, takes and answers."""
    routes = [
        _route(method, path, said) for path, methods in description["paths"].items() for method, said in methods.items()
    ]
    schemas = json.dumps(description.get("components", {}).get("schemas", {}), indent=2)
    title = escape(f"{description['info']['title']} {description['info']['version']}")
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>'
        f'<h1>{title}</h1><p>As JSON: <a href="/openapi.json">openapi.json</a></p>{"".join(routes)}'
        f"<h2>Schemas</h2><pre>{escape(schemas)}</pre></html>"
    )


def _route(method: str, path: str, said: Mapping[str, Any]) -> str:
    parameters = [f"{one['name']} ({one['schema'].get('type', 'any')})" for one in said.get("parameters", ())]
    bodies = [
        f"<details><summary>{escape(kind)}</summary><pre>{escape(json.dumps(one['schema'], indent=2))}</pre></details>"
        for kind, one in said.get("requestBody", {}).get("content", {}).items()
    ]
    listed = f"<p>Parameters: {escape(', '.join(parameters))}</p>" if parameters else ""
    answers = ", ".join(said.get("responses", ()))
    return (
        f"<h2><code>{escape(method.upper())} {escape(path)}</code></h2><p>{escape(said.get('description', ''))}</p>"
        f"{listed}{''.join(bodies)}<p>Answers: {escape(answers)}</p>"
    )
