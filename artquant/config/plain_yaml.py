"""YAML as settings are written in it: plain values, bounded, and nothing that reads otherwise than it looks."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from artquant.errors import ArtQuantError, one_line
from artquant.files.json_files import read_text

# Numbers that YAML 1.1 reads otherwise than they look: 12:30 is 750 (base 60), 017 is 15 (base 8).
_OTHER_BASE = re.compile(r"[-+]?(0[0-7_]+|[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?)")
_LARGEST = 1 << 18  # bytes of a file; PyYAML reads some 100 KB a second
_MOST_NODES = 100_000  # keys, values and lists, each alias counted with all that it stands for


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, less keys that are there twice, tags, aliases without bound, and numbers to other bases."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._sizes: dict[int, int] = {}  # of the nodes that are complete, by identity

    def compose_node(self, parent: Any, index: Any) -> Any:
        event: Any = self.peek_event()
        mark: Any = event.start_mark
        if isinstance(event, (yaml.ScalarEvent, yaml.CollectionStartEvent)) and event.tag is not None:
            problem = f"{event.tag} is a tag, of which settings have none; take it out"
            raise yaml.composer.ComposerError(None, None, problem, mark)
        node: Any = super().compose_node(parent, index)
        size = self._sizes.get(id(node))
        if size is None and isinstance(event, yaml.AliasEvent):
            raise yaml.composer.ComposerError(None, None, "an alias stands for itself", mark)
        if size is None:
            parts = [part for pair in node.value for part in pair] if isinstance(node, yaml.MappingNode) else node.value
            size = 1 + (sum(self._sizes[id(part)] for part in parts) if isinstance(parts, list) else 0)
            self._sizes[id(node)] = size
        if size > _MOST_NODES:  # with aliases of aliases a few lines stand for billions
            problem = f"more than {_MOST_NODES:,} keys and values, aliases counted as what they stand for"
            raise yaml.composer.ComposerError(None, None, problem, node.start_mark)
        return node

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        # Checked here, before merge keys (<<) are expanded into keys that may well be there twice.
        node = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key_node, _ in node.value:
            if isinstance(key_node, yaml.ScalarNode):
                if key_node.value in seen:
                    problem = f"key {key_node.value} is there twice; keep one"
                    raise yaml.composer.ComposerError(None, None, problem, key_node.start_mark)
                seen.add(key_node.value)
        return node

    def construct_number(self, node: yaml.ScalarNode) -> int | float:
        if _OTHER_BASE.fullmatch(node.value):
            problem = f"{node.value} is a number to base 60 or 8 in YAML; write it plainly, or as text in quotes"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
        is_int = node.tag == "tag:yaml.org,2002:int"
        return self.construct_yaml_int(node) if is_int else self.construct_yaml_float(node)


for _kind in ("int", "float"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_kind}", _Loader.construct_number)


def parse_file(path: Path) -> Any:
    """The value of a YAML file. Raises ArtQuantError: it cannot be read, or is not usable YAML; names file and line."""
    try:
        return parse_yaml(read_text(path, _LARGEST))
    except YamlProblem as problem:
        line = f" line {problem.line}" if problem.line else ""
        raise ArtQuantError(f"{path}{line}: not usable YAML: {problem}; correct the file") from None


class YamlProblem(Exception):
    """What is wrong with a YAML text, and in which line if known."""

    def __init__(self, reason: str, line: int | None = None) -> None:
        super().__init__(" ".join(reason.split()))
        self.line = line


def parse_yaml(text: str) -> Any:
    """The value of a YAML text. Raises YamlProblem: it is not usable."""
    try:
        return _unshared(yaml.load(text, Loader=_Loader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise YamlProblem(error.problem or str(error), mark.line + 1 if mark else None) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise YamlProblem(f"character #x{ord(text[error.position]):04x} is not allowed", line) from None
    except RecursionError:
        raise YamlProblem("nested too deeply") from None
    except ValueError as error:  # from a scalar such as 2026-13-45
        raise YamlProblem(one_line(error)) from None


def _unshared(value: Any) -> Any:
    """A copy in which nothing is shared: YAML aliases are one object, and an override is meant for one place."""
    if isinstance(value, dict):
        return {key: _unshared(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_unshared(entry) for entry in value]
    return value
