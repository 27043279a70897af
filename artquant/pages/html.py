"""One HTML page that needs nothing else: elements whose texts are escaped, tables, pictures, and the style."""

from __future__ import annotations

import base64
import hashlib
import html
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from PIL import Image

from artquant.data.images import ImageError, load_image
from artquant.errors import visible
from artquant.files.opened import opened

_THUMBNAIL, _QUALITY = 320, 80  # pixels of the longer side; of the JPEG
_EMPTY = ("img", "meta")


class Markup(str):
    """HTML that is safe as it is; all other text is escaped."""

    __slots__ = ()


def markup(value: object) -> Markup:
    """Text as HTML shows it."""
    return value if isinstance(value, Markup) else Markup(html.escape(visible(value, keep="\n\t")))


def joined(children: Iterable[object]) -> Markup:
    """One after the other."""
    return Markup("".join(map(markup, children)))


def element(tag: str, /, *children: object, **attributes: object) -> Markup:
    """An element; of attributes, `class_` is written "class" and `stroke_width` "stroke-width"."""
    named = {key.rstrip("_").replace("_", "-"): value for key, value in attributes.items()}
    opening = "".join(f' {key}="{markup(value)}"' for key, value in named.items())
    if tag in _EMPTY:
        return Markup(f"<{tag}{opening}>")
    return Markup(f"<{tag}{opening}>{joined(children)}</{tag}>")


def section(title: str, explained: str, *children: object, **attributes: object) -> Markup:
    """A part of the page."""
    return element("section", element("h2", title), element("p", explained, class_="about"), *children, **attributes)


def table(caption: str, head: Sequence[object], rows: Iterable[Sequence[object]], cells: str = "numbers") -> Markup:
    """A table whose first column names the rows; the others hold "numbers" or "texts"."""
    body = [
        element("tr", element("th", first, scope="row"), *(element("td", cell) for cell in rest))
        for first, *rest in rows
    ]
    heads = element("tr", *(element("th", cell, scope="col") if cell else element("td") for cell in head))
    whole = element(
        "table", element("caption", caption), element("thead", heads), element("tbody", *body), class_=cells
    )
    return element("div", whole, class_="wide", tabindex="0", role="region", aria_label=caption)


def quoted(text: str, most: int = 4_000) -> Markup:
    """What a model or a person wrote, in either direction of writing."""
    more = "" if len(text) <= most else f" … ({len(text) - most:,} more characters)"
    return element("blockquote", text[:most] + more, dir="auto")


def thumbnail(path: Path, name: str) -> Markup:
    """A small copy of a picture within the page, or a box that says why there is none."""
    try:
        return picture(path, name)
    except ImageError as error:
        return no_picture(str(error))


def picture(path: Path, name: str) -> Markup:
    """A small copy of a picture within the page. Raises ImageError: it cannot be read."""
    data, size = small_picture(path, _THUMBNAIL)
    shape = {"width": size[0], "height": size[1]}
    return element("img", src=f"data:image/jpeg;base64,{data}", alt=f"Picture {name}", decoding="async", **shape)


def no_picture(why: str) -> Markup:
    """The box in a picture's place."""
    return element("div", "No picture: ", why, class_="missing")


def small_picture(path: Path, side: int, form: str = "JPEG", quality: int = _QUALITY) -> tuple[str, tuple[int, int]]:
    """A picture made small, as a file of a form in base64, with its width and height.

    Args:
        side: pixels of the longer side. form: as Pillow calls it.

    Raises:
        ImageError: the picture cannot be read.
    """
    image = load_image(path, draft_to=side)
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    written = io.BytesIO()
    image.save(written, form, quality=quality)
    return base64.b64encode(written.getvalue()).decode("ascii"), image.size


def data_block(name: str, data: str) -> Markup:
    """JSON for the page's script, as the element of this id; nothing in it can end the element."""
    return Markup(
        f'<script type="application/json" id="{markup(name)}">{data.replace("<", chr(92) + "u003c")}</script>'
    )


def page(
    title: str,
    *children: object,
    before: Sequence[object] = (),
    after: Sequence[object] = (),
    style: str = "",
    script: str = "",
    generator: str = "",
) -> str:
    """The whole file. Nothing in it may be fetched, and nothing run but its own script, where it has one.

    Args:
        before, after: what stands in the page's header and footer.
        style: rules beside those of all pages. script: run at the end; neither may hold "</".
        generator: what writes the page, for :func:`is_written_by`.
    """
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
    if script:
        sum_ = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
        policy += f"; script-src 'sha256-{sum_}'"
    head = element(
        "head",
        element("meta", charset="utf-8"),
        *([element("meta", name="generator", content=generator)] if generator else []),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", title),
        element("style", Markup(_STYLE + style)),
    )
    body = element(
        "body",
        *([element("header", *before)] if before else []),
        element("main", *children),
        *([element("footer", *after)] if after else []),
        *([Markup(f"<script>{script}</script>")] if script else []),
    )
    return f"<!DOCTYPE html>\n{element('html', head, body, lang='en')}\n"


def is_written_by(file: Path, generator: str) -> bool:
    """Whether a file is a page that this wrote."""
    mark = element("meta", name="generator", content=generator)
    with opened(file) as stream:
        return mark.encode("utf-8") in stream.read(1000)


_STYLE = """
:root { color-scheme: light dark; --ground: #fbfbfa; --card: #fff; --ink: #1c2126; --soft: #5a6470; --line: #dfe3e7;
  --first: #2b6cb0; --second: #c2701d; --third: #3d8361; --bad: #b4322a; --good: #2f7d4f; }
@media (prefers-color-scheme: dark) { :root { --ground: #15181b; --card: #1d2125; --ink: #e6e8ea; --soft: #a2abb5;
  --line: #343b42; --first: #6ea8e5; --second: #e3a45f; --third: #74bd96; --bad: #ef8078; --good: #7cc79b; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 68rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: 1rem 0 .25rem; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 0 0 .25rem; } h3 { font-size: 1rem; margin: 1.25rem 0 .25rem; }
section { margin: 2rem 0; padding-top: 1.25rem; border-top: 1px solid var(--line); }
.about, figcaption, caption, .note { color: var(--soft); font-size: .9rem; } .about { max-width: 46rem; margin: 0; }
p { margin: .5rem 0; } a { color: var(--first); }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: .75rem; margin: 1rem 0;
  padding: 0; list-style: none; }
.tiles li { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: .6rem .8rem; }
.tiles b { display: block; font-size: 1.4rem; line-height: 1.3; } .tiles span { color: var(--soft); font-size: .85rem; }
.wide { overflow-x: auto; margin: 1rem 0; } table { border-collapse: collapse; width: 100%; font-size: .9rem; }
caption { text-align: left; padding-bottom: .35rem; }
th, td { padding: .3rem .6rem; border-bottom: 1px solid var(--line); text-align: right; vertical-align: top;
  font-variant-numeric: tabular-nums; }
th:first-child, .texts :is(th, td) { text-align: left; overflow-wrap: anywhere; min-width: 8rem; }
.numbers td { white-space: nowrap; } th small { min-width: 13rem; }
thead th { color: var(--soft); font-weight: 600; } tbody th { font-weight: 500; }
small { display: block; color: var(--soft); font-weight: 400; max-width: 32rem; } .best { color: var(--good); }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 21rem), 1fr)); gap: 1rem;
  align-items: start; } .charts > figure { max-width: 36rem; }
figure { margin: .75rem 0; background: var(--card); border: 1px solid var(--line); border-radius: .5rem;
  padding: .75rem; } figure svg { width: 100%; height: auto; display: block; max-height: 24rem; }
svg text { fill: var(--soft); font: 12px system-ui, sans-serif; } svg .value { fill: var(--ink); }
svg .axis { stroke: var(--line); } svg polyline { fill: none; stroke-width: 2; }
svg .same { stroke: var(--soft); stroke-dasharray: 5 4; stroke-width: 1.2; } svg .trend { stroke: var(--second); }
svg .bar { stroke: var(--second); stroke-opacity: .45; stroke-width: 4; }
svg .points { stroke: var(--first); stroke-opacity: .45; stroke-linecap: round; }
svg .ends { stroke: var(--second); stroke-opacity: 1; }
 .fill-1 { fill: var(--first); } .fill-2 { fill: var(--second); }
.fill-3 { fill: var(--third); }
.key { display: flex; gap: 1rem; flex-wrap: wrap; font-size: .85rem; color: var(--soft); }
.key svg { width: .8rem; height: .8rem; display: inline-block; margin-right: .3rem; vertical-align: -.05rem; }
article { display: grid; grid-template-columns: 13rem 1fr; align-items: start; gap: 1rem;
  background: var(--card); margin: 1rem 0; border: 1px solid var(--line); border-radius: .5rem; padding: .9rem;
  break-inside: avoid; }
article h4 { margin: 0 0 .25rem; font-size: .95rem; overflow-wrap: anywhere; }
article h5 { margin: .75rem 0 .15rem; font-size: .85rem; }
img { max-width: 100%; height: auto; border-radius: .25rem; display: block; }
.missing { border: 1px dashed var(--soft); border-radius: .25rem; padding: .75rem; font-size: .8rem;
  color: var(--soft); overflow-wrap: anywhere; }
blockquote { margin: .15rem 0; padding: .1rem .75rem; border-left: 3px solid var(--line); overflow-wrap: anywhere;
  white-space: pre-line; font-size: .92rem; }
.was blockquote { border-color: var(--bad); } .note { margin-top: .5rem; } p.note { margin: 0; }
 .why { color: var(--bad); font-size: .88rem; overflow-wrap: anywhere; }
pre { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: .75rem; font-size: .8rem;
  white-space: pre-wrap; overflow-wrap: anywhere; }
@media (max-width: 40rem) { article { grid-template-columns: 1fr; } main { padding: .75rem; } }
@media print { body { font-size: 11pt; background: #fff; } main { max-width: none; }
  figure, tr { break-inside: avoid; } }
"""
