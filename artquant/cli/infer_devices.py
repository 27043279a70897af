"""`artquant infer --devices`: a collection scored by a process on each device, in one command.

It is a planned run (`artquant.shards`) in a folder beside the output, which goes when the output is whole.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path

from artquant.cli.arguments import device_names, named_prompt, refuse_given
from artquant.cli.collection_options import given_only
from artquant.cli.shard_devices import run_on_devices
from artquant.cli.shard_options import SIZE
from artquant.cli.shard_plans import settled
from artquant.cli.terminal import say
from artquant.config.schema import InferConfig, Loading
from artquant.data.predictions import origin_file, read_origin
from artquant.errors import ArtQuantError
from artquant.files.child_processes import process_pool
from artquant.files.only_writer import only_writer
from artquant.infer.score_files import LOOKED_THROUGH
from artquant.listing.collection import Collection
from artquant.listing.result_tables import require_form
from artquant.listing.where import Where
from artquant.models.model_folder import ModelFolder
from artquant.shards.claims import LEASE, Claims
from artquant.shards.manifest import Run, fingerprint_of
from artquant.shards.merge import merged_origin, require_own, write_merged
from artquant.shards.plan import list_digest, write_plan
from artquant.shards.results import without_score
from artquant.shards.scoring import How

_SHARDS = 8  # of each device at least, so that all of them end at about the same time


@dataclass(frozen=True)
class Wanted:
    """What a command asks for, in plain values.

    attributes, batch_size: as of `InferConfig`. anyway: also what the model was not trained on. pictures: how many
    there are; None: many.
    """

    how: How
    attributes: str | tuple[str, ...]
    batch_size: int | None
    anyway: bool
    collection: Collection
    out: Path
    where: Where | None
    pictures: int | None
    devices: int

    @property
    def folder(self) -> Path:
        """Of the run."""
        return self.out.with_name(self.out.name + ".shards")

    def size(self, batch: int) -> int:
        """Of a shard: whole batches, and enough shards for every device."""
        if self.pictures is None:
            return SIZE
        return min(SIZE, batch * -(-self.pictures // (batch * self.devices * _SHARDS)))


def run_on_each(
    arguments: argparse.Namespace,
    opened: ModelFolder,
    settings: InferConfig,
    out: Path,
    inputs: Sequence[Path],
    where: Where | None,
) -> int:
    """Score the pictures, or go on with what another call has begun; status 1 where some have no score."""
    refuse_given(arguments, ("device", "published", "strict"), "is for one device; leave it out with --devices")
    devices = device_names(arguments.devices)
    require_form(out, where)
    collection = Collection(tuple(inputs), settings.images, columns=arguments.columns, only=given_only(arguments))
    pictures, how = collection.count(LOOKED_THROUGH), _how(arguments, opened, settings)
    asked = settings.attributes, settings.batch_size, arguments.anyway
    wanted = Wanted(how, *asked, collection, out, where, pictures, len(devices))
    with only_writer(wanted.folder.with_name(wanted.folder.name + ".command")):
        there = _planned_apart(wanted, devices[0], not arguments.quiet)
        if there is not None:
            say(f"{out}: 0 pictures scored, {there} were there")
            return 0
        planned = Run.open(wanted.folder)
        Claims(planned.claims, LEASE).give_up_all()  # of workers that were killed with another such command
        given = {"model": how.model, "base": how.base, "workers": settings.workers}
        others = [f"--{name}={value}" for name, value in given.items() if value is not None]
        status = run_on_devices(planned, devices, (1, 1), others, arguments.quiet)
        if status:
            return status
        rows, lacking = write_merged(planned, out, where, not arguments.quiet), without_score(planned)
        planned.clear()
    told = f", {lacking} of them without a score (column error)" if lacking else ""
    say(f"{out}: {planned.manifest.pictures} pictures scored{told}")
    if where is not None:
        say(f"{out}: {rows} ids where {where.text}")
    return 1 if lacking else 0


def _how(arguments: argparse.Namespace, opened: ModelFolder, settings: InferConfig) -> How:
    below = None if opened.below is None else opened.below.path
    base = opened.named_base or below
    return How(
        str(opened.path.absolute()),
        None if base is None else str(base.absolute()),
        arguments.allow_other_base,
        named_prompt(arguments),
        arguments.weights,
        None if settings.score_range is None else list(settings.score_range),
        {field.name: vars(settings)[field.name] for field in fields(Loading)},
        columns=vars(arguments.columns),
        draft_to=settings.draft_to,
    )


def _planned_apart(wanted: Wanted, device: str, progress: bool) -> int | None:
    """As `_planned`, in a process of its own, with which what it loaded leaves the device."""
    with process_pool(1) as pool:
        try:
            return pool.submit(_planned, wanted, device, progress).result()
        except BrokenProcessPool:
            raise ArtQuantError(
                f"{wanted.how.model}: the process that loaded it was ended, perhaps for lack of memory; free some, or "
                "load it in bfloat16 or quantised"
            ) from None


def _planned(wanted: Wanted, device: str, progress: bool) -> int | None:
    """Plan the run, unless it is there; how many pictures the output has, if that is there already.

    Raises:
        ArtQuantError: what is there is of another model, other settings or other pictures.
    """
    if not os.path.lexists(wanted.out):
        require_own(origin_file(wanted.out))  # said before all is scored
    how, origin = settled(wanted.how, device, wanted.attributes, wanted.anyway, wanted.batch_size, wanted.where)
    if not os.path.lexists(wanted.out) and not os.path.lexists(wanted.folder):
        write_plan(wanted.collection.entries(), wanted.folder, wanted.size(how.batch_size), origin, vars(how), progress)
        return None
    whole, pictures = list_digest(wanted.collection.entries())
    if os.path.lexists(wanted.out):
        if read_origin(wanted.out) != merged_origin(origin, fingerprint_of(origin), whole, wanted.where):
            raise ArtQuantError(
                f"{wanted.out}: is there, and of another model, other settings or other pictures; name another output "
                "or delete it"
            )
        with suppress(ArtQuantError):  # a folder that is none of a run is not ours
            if (left := Run.open(wanted.folder)).manifest.whole == whole:
                left.clear()
        return pictures
    planned = Run.open(wanted.folder)
    planned.require_planned(origin)
    if planned.manifest.whole != whole:
        raise ArtQuantError(
            f"{wanted.folder}: was begun with other pictures; name another output, or delete the folder"
        )
    return None
