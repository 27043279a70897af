"""Modules of this package as flat files beside each other, with the definitions that are needed and no others.

transformers copies the files that a model's file imports as `from .name import ...`, so that is how they import here.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib.util import find_spec

from artquant import __version__
from artquant.errors import ArtQuantError

OWN = __package__.partition(".")[0]
_KINDS = ("configuration", "modeling", "processing")  # transformers' names: the kind first
_HEADER = """\
# Copyright: the authors of {package}. SPDX-License-Identifier: Apache-2.0
# Taken from {module} of {package} {version} by `{package} export --to hub`; correct it there.
"""
_WIDE = 120  # characters of a line


@dataclass(frozen=True)
class Imported:
    """What a name of a module is. module: where it is from. name: there; None: the module itself. local: here."""

    module: str
    name: str | None
    local: str
    for_types: bool = False  # no program asks for it


class _Used:
    """The names that a statement says, the attributes of names ("pixels", "to_rgb"), our modules imported inside."""

    def __init__(self, statement: ast.stmt) -> None:
        nodes = list(ast.walk(statement))
        self.names = sorted({node.id for node in nodes if isinstance(node, ast.Name)})
        dotted = [(node.value, node.attr) for node in nodes if isinstance(node, ast.Attribute)]
        self.attributes = sorted({(value.id, name) for value, name in dotted if isinstance(value, ast.Name)})
        inner = [node for node in nodes if isinstance(node, ast.ImportFrom) and is_own(node.module)]
        self.imports = [one for node in inner for one in _imported(node)]


@dataclass
class Module:
    """One module's source. kept: its statements that are needed, by their first line."""

    name: str
    kept: dict[int, ast.stmt] = field(default_factory=dict)
    imports: dict[str, Imported] = field(default_factory=dict)  # that are needed, by the name here

    @cached_property
    def text(self) -> str:
        """Its source."""
        spec = find_spec(self.name)
        source = None if spec is None or spec.loader is None else spec.loader.get_source(self.name)  # type: ignore[attr-defined]
        if source is None:
            raise ArtQuantError(f"module {self.name}: its source is not there; install the package from its files")
        return source

    @cached_property
    def tree(self) -> ast.Module:
        """Parsed."""
        return ast.parse(self.text)

    @cached_property
    def known_imports(self) -> Mapping[str, Imported]:
        """Everything that it imports, by the name here."""
        found = list[Imported]()
        for node in self.tree.body:
            for_types = _is_for_types(node)
            for each in node.body if for_types and isinstance(node, ast.If) else [node]:
                found += _imported(each, for_types)
        return {one.local: one for one in found}

    @cached_property
    def definitions(self) -> Mapping[str, list[ast.stmt]]:
        """The statements that give a name its value."""
        found: dict[str, list[ast.stmt]] = {}
        for node in self.tree.body:
            for name in _defined(node):
                found.setdefault(name, []).append(node)
        return found

    @cached_property
    def effects(self) -> list[ast.stmt]:
        """The statements that do something, and give no name a value."""
        known = {id(node) for nodes in self.definitions.values() for node in nodes}
        idle = (ast.Import, ast.ImportFrom)
        nodes = [node for node in self.tree.body if id(node) not in known and not isinstance(node, idle)]
        texts = (node for node in nodes if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        skipped = {id(node) for node in texts}
        return [node for node in nodes if id(node) not in skipped and not _is_for_types(node)]


class Sources:
    """The modules that names need, and the parts of them.

    Raises:
        ArtQuantError: a module has no source, or not the name.
    """

    def __init__(self) -> None:
        self.modules: dict[str, Module] = {}
        self._done: set[tuple[str, str]] = set()

    def need(self, module: str, name: str) -> Imported:
        """Take a name of a module, with all that it needs; where it is defined."""
        found = self._defined(Imported(module, name, name))
        self._take(found)
        return found

    def files(self) -> dict[str, str]:
        """Texts of the flat files, by name."""
        return {f"{flat_name(name)}.py": self._written(module) for name, module in sorted(self.modules.items())}

    @property
    def packages(self) -> tuple[str, ...]:
        """What the files import beside the standard library."""
        found = {one.module.partition(".")[0] for module in self.modules.values() for one in module.imports.values()}
        return tuple(sorted(found - sys.stdlib_module_names - {OWN}))

    def _module(self, name: str) -> Module:
        if name not in self.modules:
            self.modules[name] = Module(name)
            for node in self.modules[name].effects:
                self._keep(self.modules[name], node)
        return self.modules[name]

    def _defined(self, asked: Imported) -> Imported:
        """The place where an imported name is defined, which is not always where it is imported from."""
        if asked.name is None:
            return asked
        module = self.modules.get(asked.module) or Module(asked.module)
        if asked.name in module.definitions:
            return asked
        again = module.known_imports.get(asked.name)
        if again is not None and is_own(again.module):
            return self._defined(Imported(again.module, again.name, asked.local))
        if find_spec(f"{asked.module}.{asked.name}") is None:
            raise ArtQuantError(f"module {asked.module} has no {asked.name}; correct the import")
        return Imported(f"{asked.module}.{asked.name}", None, asked.local)

    def _take(self, wanted: Imported) -> None:
        module = self._module(wanted.module)
        if wanted.name is None or (wanted.module, wanted.name) in self._done:
            return
        self._done.add((wanted.module, wanted.name))
        for node in module.definitions[wanted.name]:
            self._keep(module, node)

    def _keep(self, module: Module, node: ast.stmt) -> None:
        if node.lineno in module.kept:
            return
        module.kept[node.lineno] = node
        used = _Used(node)
        for name in used.names:
            self._resolve(module, name, used)
        for one in used.imports:
            self._follow(self._defined(one), used)

    def _resolve(self, module: Module, name: str, used: _Used) -> None:
        if name in module.definitions:
            self._take(Imported(module.name, name, name))
        elif name in module.known_imports and not module.known_imports[name].for_types:
            one = module.known_imports[name]
            if is_own(one.module):
                one = self._defined(one)
                self._follow(one, used)
            module.imports[name] = one

    def _follow(self, one: Imported, used: _Used) -> None:
        """Take what is imported; of a module that which is used of it."""
        self._take(one)
        if one.name is None:
            for _, attribute in (pair for pair in used.attributes if pair[0] == one.local):
                self._take(self._defined(Imported(one.module, attribute, attribute)))

    def _written(self, module: Module) -> str:
        explained = ast.get_docstring(module.tree, clean=False)
        pieces = [_HEADER.format(package=OWN, module=module.name, version=__version__)]
        pieces += [] if explained is None else [f'"""{explained}"""\n']
        pieces += ["from __future__ import annotations\n", "\n".join(_import_lines(module.imports.values())) + "\n"]
        for start in sorted(module.kept):
            pieces.append("\n".join(self._lines_of(module, module.kept[start])) + "\n")
        return "\n".join(piece for piece in pieces if piece.strip())

    def _lines_of(self, module: Module, node: ast.stmt) -> Iterator[str]:
        """A statement's lines with the comment before it; imports inside of it as from flat files."""
        lines = module.text.splitlines()
        decorators = node.decorator_list if isinstance(node, (ast.FunctionDef, ast.ClassDef)) else []
        start = min([node.lineno, *(one.lineno for one in decorators)]) - 1
        while start and lines[start - 1].startswith("#"):
            start -= 1
        inner = {one.lineno: one for one in ast.walk(node) if isinstance(one, ast.ImportFrom) and is_own(one.module)}
        number, end = start + 1, node.end_lineno or node.lineno
        while number <= end:
            if number in inner:
                found = [self._defined(one) for one in _imported(inner[number])]
                yield from (f"{' ' * inner[number].col_offset}{line}" for line in _import_lines(found))
                number = inner[number].end_lineno or number
            else:
                yield lines[number - 1]
            number += 1


def flat_name(module: str) -> str:
    """A flat file's name, without its ending."""
    parts = module.removeprefix(f"{OWN}.models.").removeprefix(f"{OWN}.").split(".")
    first = parts.pop() if parts[-1] in _KINDS else OWN
    return "_".join([first, *parts])


def is_own(module: str | None) -> bool:
    """Whether a module is of this package."""
    return (module or "").partition(".")[0] == OWN


def _is_for_types(node: ast.stmt) -> bool:
    """Whether it is imports that only types need."""
    named = isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    return named and isinstance(node, ast.If) and not node.orelse


def _imported(node: ast.stmt, for_types: bool = False) -> list[Imported]:
    if isinstance(node, ast.Import):
        return [Imported(one.name, None, one.asname or one.name.partition(".")[0], for_types) for one in node.names]
    if isinstance(node, ast.ImportFrom) and node.module not in (None, "__future__"):
        return [Imported(str(node.module), one.name, one.asname or one.name, for_types) for one in node.names]
    return []


def _defined(node: ast.stmt) -> set[str]:
    """Names that a statement outside of functions gives a value."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return {node.name}
    if _is_for_types(node) or isinstance(node, (ast.Import, ast.ImportFrom)):
        return set()
    inner = [one for one in ast.walk(node) if isinstance(one, (ast.Import, ast.ImportFrom))]
    stored = (one for one in ast.walk(node) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store))
    return {one.id for one in stored} | {one.local for each in inner for one in _imported(each)}


def _import_lines(imports: Iterable[Imported]) -> Iterator[str]:
    """Imports of libraries, then of flat files."""
    groups: dict[str, list[str]] = {}
    whole, modules = list[str](), list[str]()
    for one in sorted(imports, key=lambda one: (one.module, one.name or "", one.local)):
        other = f" as {one.local}"
        if one.name is not None:
            source = f".{flat_name(one.module)}" if is_own(one.module) else one.module
            groups.setdefault(source, []).append(one.name if one.name == one.local else one.name + other)
        elif is_own(one.module):  # transformers does not follow `from . import name`
            modules += [
                "import sys",
                f"from .{flat_name(one.module)} import __name__ as _{one.local}",
                f"{one.local} = sys.modules[_{one.local}]",
            ]
        else:
            whole.append(f"import {one.module}{'' if one.module.partition('.')[0] == one.local else other}")
    yield from whole
    for source in sorted(groups, key=lambda source: (source.startswith("."), source)):
        line = f"from {source} import {', '.join(groups[source])}"
        yield line if len(line) <= _WIDE else f"from {source} import (\n    " + ",\n    ".join(groups[source]) + ",\n)"
    yield from modules
