"""What a run over a collection is planned with."""

from __future__ import annotations

from dataclasses import replace

from artquant.cli.named_model import chosen_attributes, require_columns, require_learned
from artquant.infer.batch_size import choose_batch_size
from artquant.listing.where import Where
from artquant.shards.scoring import How


def settled(
    how: How,
    device: str,
    wanted: str | tuple[str, ...],
    anyway: bool,
    batch_size: int | None,
    where: Where | None = None,
) -> tuple[How, dict[str, object]]:
    """How a run's model is asked, nothing left open, and what its scores are made with; it is loaded for that.

    Args:
        wanted: attributes, or "trained". anyway: also what it was not trained on. batch_size: None: by the device.
        where: a condition on its columns, as far as it is known yet.

    Raises:
        ArtQuantError: it cannot be loaded, or was not trained on what it is to be asked; a column is none.
    """
    scorer, opened = how.load(device)
    how = replace(how, attributes=list(chosen_attributes(scorer, wanted, opened.path)))
    tasks = ("score",) if how.describe is None else ("score", "description")
    require_learned(scorer, tasks, opened.path, how.attributes, anyway)
    if where is not None:
        require_columns(scorer, how.attributes, where)
    how = replace(how, batch_size=batch_size or choose_batch_size(scorer, how.attributes))
    return how, how.origin(scorer, opened)
