"""What a run over a collection is planned with."""

from __future__ import annotations

from dataclasses import replace

from artquant.cli.named_model import chosen_attributes, require_learned
from artquant.shards.scoring import How


def settled(how: How, device: str, wanted: str | tuple[str, ...], anyway: bool) -> tuple[How, dict[str, object]]:
    """How a run's model is asked, with the names of attributes, and what its scores are made with; it is loaded for it.

    Args:
        wanted: attributes, or "trained". anyway: also what it was not trained on.

    Raises:
        ArtQuantError: it cannot be loaded, or was not trained on what it is to be asked.
    """
    scorer, opened = how.load(device)
    how = replace(how, attributes=list(chosen_attributes(scorer, wanted, opened.path)))
    tasks = ("score",) if how.describe is None else ("score", "description")
    require_learned(scorer, tasks, opened.path, how.attributes, anyway)
    return how, how.origin(scorer, opened)
