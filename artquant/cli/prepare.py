"""`artquant prepare`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from artquant.cli.prepare_options import named_columns, split_lists, table_form
from artquant.cli.terminal import say
from artquant.errors import ArtQuantError

if TYPE_CHECKING:
    from artquant.prepare.annotation import Split


def run(arguments: argparse.Namespace) -> int:
    """Import annotation files into a prepared folder and print what a configuration says about it."""
    from artquant.labels.rating_scale import RATING_WORDS
    from artquant.prepare.annotation import SPLITS
    from artquant.prepare.importers import IMPORTERS
    from artquant.prepare.prepare import Settings, prepare

    if arguments.name not in IMPORTERS:
        known = "; ".join(f"{name} ({importer.title})" for name, importer in IMPORTERS.items())
        raise ArtQuantError(f"data set {arguments.name!r} is unknown; choose one of {known}")
    if arguments.range is not None and len(arguments.range) != 2:
        raise ArtQuantError(f"--range takes two numbers LO,HI, got {len(arguments.range)}")
    if arguments.skip_missing and arguments.images is None:
        raise ArtQuantError("--skip-missing needs the folder of the pictures; name it with --images")
    for name in ("split", "std"):
        if vars(arguments)[f"ignore_{name}"] and vars(arguments)[f"{name}_column"] is not None:
            raise ArtQuantError(f"--{name}-column names what --ignore-{name} leaves out; leave one of them out")
    settings = Settings(
        columns=named_columns(arguments, IMPORTERS[arguments.name].columns),
        range=None if arguments.range is None else (arguments.range[0], arguments.range[1]),
        levels=None if arguments.levels is None else tuple(arguments.levels),
        words=arguments.words or RATING_WORDS,
        fit="rescale" if arguments.rescale else "clamp" if arguments.clamp else "same",
        method=arguments.method,
        sigma=arguments.sigma,
        word=arguments.word,
        vote_values=None if arguments.vote_values is None else tuple(arguments.vote_values),
        test_fraction=arguments.test_fraction,
        seed=arguments.seed,
        ignore_split=arguments.ignore_split,
        ignore_std=arguments.ignore_std,
        subject=arguments.subject,
        prompt=arguments.prompt,
        readout=arguments.readout,
        tokens=arguments.tokens,
        form=table_form(arguments),
        split_lists=split_lists(arguments),
        images=arguments.images,
        skip_missing=arguments.skip_missing,
        overwrite=arguments.overwrite,
        progress=not arguments.quiet,
    )
    files: list[tuple[Path, Split | None]] = [(path, split) for split in SPLITS for path in vars(arguments)[split]]
    files += [(path, arguments.split) for path in arguments.files]
    card = prepare(arguments.name, files, arguments.out, settings, arguments.command_line)
    configured = _settings(card, arguments.out, arguments.images or arguments.out.parent / "images")
    say(*_summary(card, arguments.out), "", *configured)
    return 0


def _summary(card: dict[str, Any], out: Path) -> list[str]:
    """What was written, for a person."""
    scale, how = card["scale"], card["distributions"]
    low, high = scale["native"]
    ends = f"{scale['values'][-1]:g} to {scale['values'][0]:g}"
    fitted = {"same": "", "rescale": f", mapped onto {ends}", "clamp": f", cut to {ends}"}[scale["fit"]]
    sigma = "" if how["sigma"] is None else f", sigma {how['sigma']:g}"
    lines = [f"{out}: scores of {low:g} to {high:g}{fitted}; distributions: {how['method']}{sigma}"]
    for split, said in card["splits"].items():
        if said["pictures"]:
            scores = said["scores"]
            words = ", ".join(f"{count} {word}" for word, count in said["words"].items())
            lines.append(
                f"  {split}: {said['pictures']} pictures, scores {scores['lowest']:g} to {scores['highest']:g} "
                f"(mean {scores['mean']:.4g}){'' if 'readout' in card else f': {words}'}"
            )
    training = card["splits"]["train"]
    if training["attributes"]:
        missing = ", ".join(f"{name} {count['missing']}" for name, count in training["attributes"].items())
        lines.append(f"  attributes missing for training pictures: {missing}")
    lines += [f"  {note}" for note in card["notes"]]
    files = ", ".join(f"{name} ({said['records']})" for name, said in card["files"].items())
    return [*lines, f"  records: {files}; the card: dataset.json"]


def _settings(card: dict[str, Any], out: Path, images: Path) -> list[str]:
    """The lines of a configuration that go with the prepared folder."""
    import yaml

    from artquant.config.schema import RunConfig
    from artquant.labels.rating_scale import APDD_SCALE
    from artquant.prepare.records import Labelling

    def flow(value: Any) -> str:
        return yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10_000).strip()

    def entry(name: str) -> dict[str, str]:
        return {"records": str(out / name), "images": str(images)}

    scale, files = card["scale"], card["files"]
    lines = ["In a configuration (then: artquant check CONFIG.yaml):"]
    if (tuple(scale["words"]), tuple(scale["values"])) != (APDD_SCALE.words, APDD_SCALE.values):
        lines.append(f"  levels: {flow({'words': scale['words'], 'weights': scale['values']})}")
    usual = {"prompt": RunConfig.prompt, "subject": RunConfig.subject, "readout": {}}
    lines += ["  " + flow({key: card[key]})[1:-1] for key, value in usual.items() if card.get(key, value) != value]
    if (word := card["distributions"]["word"]) != Labelling.word:
        from artquant.readouts import DEFAULT  # loads torch

        lines.append(f"  readout: {flow({'kind': DEFAULT, 'word': word})}")
    comments = "scores with comments" if _holds_several(card) else "descriptions"
    remarks = {"score.json": "", "attributes.json": "  # if wanted", "comments.json": f"  # if wanted: {comments}"}
    training = [name for name in remarks if name in files]
    if training:
        lines += ["  stages:", "    - name: scores", "      data:"]
        lines += [f"        - {flow(entry(name))}{remarks[name]}" for name in training]
    scored = next((name for name in ("test.json", "validation.json") if name in files), None)
    if scored:
        lines.append(f"  infer: {flow(entry(scored))}")
    return lines


def _holds_several(card: dict[str, Any]) -> bool:
    """Whether the records' answers may hold several scores, with targets of their own."""
    if "readout" not in card:
        return False
    from artquant.readouts import READOUTS

    return READOUTS[card["readout"]["kind"]].several
