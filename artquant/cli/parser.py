"""The parser of all commands."""

from __future__ import annotations

import argparse
from typing import NoReturn

from artquant.cli.arguments import (
    DEVICES,
    Commands,
    add_attributes,
    add_config,
    add_folder,
    add_model,
    add_question,
    comma_names,
    comma_numbers,
    fraction,
    number,
    path,
    text,
    whole,
)
from artquant.cli.collection_options import BATCH_SIZE, INPUTS, add_collection, add_columns
from artquant.cli.compare_options import add_comparisons
from artquant.cli.evaluate_options import add_eval
from artquant.cli.prepare_options import add_choices, add_reading
from artquant.cli.rad_options import add_rad
from artquant.cli.report_options import add_report
from artquant.cli.serve_options import add_serve
from artquant.cli.shard_options import add_shard
from artquant.cli.terminal import complain
from artquant.config.requirements import LARGEST_BATCH, LARGEST_SEED

_SEED, _WORKERS, _BATCH = whole(0, LARGEST_SEED), whole(0, 1024), whole(1, LARGEST_BATCH)


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        """End with status 2."""
        complain(f"{self.prog}: error: {message}; see {self.prog} --help")
        self.exit(2)


def build_parser(version: str) -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser: argparse.ArgumentParser = _Parser(
        prog="artquant", description="Judge the aesthetics of artistic images with a multimodal language model."
    )
    parser.add_argument("--version", action="version", version=f"artquant {version}")
    add_quiet(parser, default=False)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    making = (_demo, _demo_data, _demo_base, _init_model, _prepare, _check, _plan)
    running = (_train, _infer, _score, _describe, _analyse)
    for add in (*making, *running, _familiar, _descriptions, _export):
        add(commands)
    add_eval(commands, _command)
    add_comparisons(commands, _command)
    add_shard(commands, _command)
    add_report(commands, _command)
    add_rad(commands, _command)
    add_serve(commands, _command)
    return parser


def _command(commands: Commands, name: str, module: str, help: str) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=help, description=help[0].upper() + help[1:] + ".")
    command.set_defaults(module=module)
    add_quiet(command, default=argparse.SUPPRESS)  # where it is not given, what stands before the command holds
    return command


def add_quiet(parser: argparse.ArgumentParser, default: object) -> None:
    """Before or after the command's name."""
    parser.add_argument("--quiet", action="store_true", default=default, help="no progress messages")


def _demo_data(commands: Commands) -> None:
    command = _command(commands, "demo-data", "data", "draw pictures with scores and descriptions")
    add = command.add_argument
    add("--out", type=path, required=True, help="folder to write")
    add("--images", type=whole(2), default=1200, help="number of pictures (default %(default)s)")
    add("--seed", type=_SEED, default=0, help="of the drawing (default %(default)s)")
    add("--test-fraction", type=fraction, default=0.2, help="share held out (default %(default)s)")
    add("--workers", type=_WORKERS, default=2, help="drawing processes (default %(default)s)")


def _demo(commands: Commands) -> None:
    command = _command(commands, "demo", "demo", "the whole path in minutes: draw, train, score, evaluate, describe")
    add = command.add_argument
    add(
        "seed",
        nargs="?",
        type=_SEED,
        default=0,
        metavar="SEED",
        help="of pictures and training (default %(default)s)",
    )
    length = command.add_mutually_exclusive_group().add_argument
    length("--short", action="store_true", help="few pictures and steps, to see that it runs: the figures mean nothing")
    length("--long", action="store_true", help="train scores three times as long: attributes then differ as people say")
    other = command.add_mutually_exclusive_group()
    other.add_argument("--network", metavar="NAME", help="another, with drawn weights: those of configs/demo/NAME.yaml")
    other.add_argument("--from-scratch", action="store_true", help="make the base anew first, in 40 minutes")


def _demo_base(commands: Commands) -> None:
    command = _command(
        commands, "demo-base", "demo", "make the demo's base: a drawn network learns to say what is there"
    )
    command.add_argument("--out", type=path, required=True, help="model folder to write")
    command.add_argument("--captions", type=whole(2), default=40_000, help="drawn pictures (default %(default)s)")
    command.add_argument("overrides", nargs="*", metavar="key=value", help="settings that replace the recipe's")


def _init_model(commands: Commands) -> None:
    command = _command(commands, "init-model", "data", "write a small base model with random weights")
    add_config(command, required=True)
    command.add_argument("--out", type=path, required=True, help="model folder to write")


def _prepare(commands: Commands) -> None:
    command = _command(commands, "prepare", "prepare", "turn published annotation files into training and test files")
    add = command.add_argument
    add("name", metavar="NAME", help="apdd, baid, ava, koniq, list (JSON), generic; see dataset/README.md")
    add("files", nargs="*", type=path, metavar="FILE", help="annotation files; apdd: or their folder")
    add("--out", type=path, required=True, help="folder to write, normally dataset/NAME/meta")
    for split in ("train", "validation", "test"):
        help = f"annotation file of the {split} pictures (may be repeated)"
        add(f"--{split}", type=path, action="append", default=[], metavar="FILE", help=help)
    add("--split", choices=("train", "validation", "test"), help="of the FILEs (default: as they say)")
    add("--test-fraction", type=fraction, help="share of the pictures held out, where files say no split")
    add("--seed", type=_SEED, default=0, help="of that draw and of the questions (default %(default)s)")
    add("--images", type=path, metavar="DIR", help="look whether every picture is in this folder")
    add("--skip-missing", action="store_true", help="leave out pictures that are not there")
    add("--overwrite", action="store_true", help="also replace files that this command did not write")
    _scale(command)
    add_choices(command)
    add_reading(command)


def _scale(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("--range", type=comma_numbers, metavar="LO,HI", help="lowest and highest score of the data set")
    add(
        "--levels",
        type=comma_numbers,
        metavar="V,V,...",
        help="scores of the rating words, best first (default: evenly over the range; apdd: 10,7.5,5,3.5,1)",
    )
    add("--words", type=comma_names, metavar="W,W,...", help="rating words (default excellent, ..., bad)")
    fit = command.add_mutually_exclusive_group()
    fit.add_argument("--rescale", action="store_true", help="map the range linearly onto that of the levels")
    fit.add_argument("--clamp", action="store_true", help="move scores outside the levels to the nearest end")
    add("--method", type=text, help="of the distributions: gaussian (default), votes (default of ava), known-std, ...")
    add("--sigma", type=number, help="of gaussian, in score units (default: a ninth of the scale)")
    add(
        "--readout",
        type=text,
        metavar="KIND",
        help="how scores are to be read: kind of a configuration's readout (see there)",
    )
    add("--tokens", type=whole(2, 1000), metavar="N", help="of a readout over score tokens: how many (default 10)")
    add(
        "--prompt",
        type=text,
        metavar="NAME",
        help="wording of questions and answers (default: artquant, or the readout's usual)",
    )
    add("--subject", type=text, help="noun in questions and answers (default: the prompt's, such as painting)")


def _check(commands: Commands) -> None:
    command = _command(
        commands,
        "check",
        "check",
        "look for broken records and pictures, or at a model (check MODEL)",
    )
    add = command.add_argument
    add_config(command, required=False)
    add("--records", type=path, action="append", default=[], help="training records (repeatable)")
    add("--test", type=path, action="append", default=[], help="list of test pictures (repeatable)")
    add("--images", type=path, help="folder of the pictures (default: the records file's)")
    add("--weights", type=comma_numbers, metavar="W,W,...", help="scores of the rating words, best first")
    add("--workers", type=_WORKERS, help="processes that read pictures (default: one per core)")
    add("--no-pictures", action="store_true", help="do not open the pictures")
    add("--no-duplicates", action="store_true", help="do not look for copies among the pictures")
    add(
        "--small-side",
        type=whole(0),
        metavar="PIXELS",
        help="warn if a picture's longer side is less (default: half of what the base model sees; 0: never)",
    )
    add("--strict", action="store_true", help="warnings count as errors in the exit status")
    add("--all", action="store_true", help="show every finding, not five of a kind")
    add("--json", action="store_true", help="print everything as JSON instead of a summary")


def _plan(commands: Commands) -> None:
    command = _command(commands, "plan", "plan", "tell whether training fits into memory; exit status 1 if not")
    add = command.add_argument
    add_config(command, required=True)
    add("--gpus", type=whole(1, 100_000), help="GPUs, one process each (default: those of this machine, or 1)")
    add("--memory", type=text, metavar="SIZE", help="of each GPU, such as 24GiB (default: as the GPU here says)")
    add("--stage", type=text, action="append", default=[], help="only this stage (may be repeated)")
    add("--length", type=whole(1, 10_000_000), help="positions of the longest sample (default: max_length)")
    add("--learned", type=whole(1, 10_000_000), help="of its positions (default: all but picture and prompt)")
    add("--json", action="store_true", help="as JSON, sizes in bytes")


def _train(commands: Commands) -> None:
    command = _command(commands, "train", "train", "train a run's stages; run again, it resumes")
    add_config(command, required=True)
    command.add_argument("--stage", type=text, action="append", default=[], help="only this stage (may be repeated)")
    command.add_argument(
        "--launcher",
        choices=("auto", "none", "torchrun", "deepspeed"),
        default="auto",
        help="how processes are started; auto: torchrun, deepspeed with --hostfile, none for one process",
    )
    command.add_argument(
        "--ranks", type=whole(1, 1024), help="processes on this machine (default: one per GPU, one without GPUs)"
    )
    command.add_argument(
        "--nodes", type=whole(1, 100_000), default=1, help="machines, each started with its --node-rank (torchrun)"
    )
    command.add_argument(
        "--node-rank", type=whole(0, 100_000), metavar="N", help="which of the machines this is, from 0"
    )
    command.add_argument("--master", metavar="HOST:PORT", help="where the first machine's first process listens")
    command.add_argument("--hostfile", type=path, help="machines and their GPUs, for DeepSpeed's launcher")
    command.add_argument(
        "--accept-changes", action="store_true", help="go on although the configuration is not the one begun with"
    )


def _infer(commands: Commands) -> None:
    command = _command(commands, "infer", "infer", "score a collection of pictures into a file; resumable")
    add_config(command, required=False)
    add_model(command, required=False)
    add_attributes(command)
    add_collection(command)
    command.add_argument("--batch-size", type=_BATCH, help=BATCH_SIZE)
    command.add_argument("--workers", type=_WORKERS, help="processes that read pictures")
    command.add_argument("--devices", type=comma_names, metavar="N,N,...", help=DEVICES + ": a process on each")
    command.add_argument("--published", type=path, metavar="FILE", help="then write ArtiMuse's form: image and score")


def _score(commands: Commands) -> None:
    command = _command(commands, "score", "pictures", "score a few pictures (long lists: infer)")
    command.add_argument("pictures", nargs="+", type=path, metavar="INPUT", help=INPUTS)
    add_columns(command)
    add_model(command, required=True)
    add_attributes(command)
    command.add_argument("--json", action="store_true", help="one JSON object a line")
    command.add_argument(
        "--generate", action="store_true", help="let the model say the text around the score (score tokens only)"
    )
    add_question(command, "with --generate: what to ask (default: the prompt's scoring question)")


def _level(text: str) -> int | str:
    if text not in ("1", "2", "3", "all"):
        raise argparse.ArgumentTypeError(f"must be 1, 2, 3 or all, got {text!r}")
    return text if text == "all" else int(text)


def _describe(commands: Commands) -> None:
    command = _command(commands, "describe", "pictures", "describe a few pictures")
    command.add_argument("pictures", nargs="+", type=path, metavar="INPUT", help=INPUTS)
    add_columns(command)
    add_model(command, required=True)
    command.add_argument("--json", action="store_true", help="one JSON object a line")
    command.add_argument(
        "--level",
        type=_level,
        help="1 perception, 2 + cognition, 3 + emotion (default: the fullest); all: each, and the score",
    )
    add_question(command, "ask this instead of for a level")


def _analyse(commands: Commands) -> None:
    command = _command(commands, "analyse", "analyse", "score pictures and write a text on each aspect (ArtiMuse)")
    command.add_argument("pictures", nargs="*", type=path, metavar="IMAGE")
    add_model(command, required=True)
    command.add_argument("--json", action="store_true", help="one JSON object a line")
    command.add_argument(
        "--max-new-tokens", type=whole(1, 100_000), default=512, help="longest text (default %(default)s)"
    )
    command.add_argument(
        "--published", type=path, metavar="DIR", help="a JSON file a picture, as ArtiMuse's code writes it"
    )
    command.add_argument(
        "--records", type=path, help="instead of pictures: JSON list, JSON lines or folder of pictures"
    )
    command.add_argument("--images", type=path, help="folder of the records' pictures")
    command.add_argument("--out", type=path, help="of the records: predictions file with texts; resumable")
    command.add_argument("--batch-size", type=_BATCH, help="of the records (default 4)")
    command.add_argument("--workers", type=_WORKERS, help="processes that read pictures (default: 2 beside a GPU)")
    command.add_argument("--skip-unreadable", action="store_true", help="go on after a picture that cannot be read")


def _familiar(commands: Commands) -> None:
    command = _command(commands, "familiar", "familiar", "let a model know its training pictures, to tell others apart")
    add_folder(command, required=True)
    command.add_argument("--records", type=path, required=True, help="what it was trained on, or a folder of pictures")
    command.add_argument("--images", type=path, help="folder of the records' pictures")
    command.add_argument("--pictures", type=whole(1), default=1000, help="how many of them (default %(default)s)")


def _descriptions(commands: Commands) -> None:
    command = _command(commands, "descriptions", "descriptions", "split and check descriptions")
    actions = command.add_subparsers(dest="action", metavar="ACTION", required=True, help="see ACTION --help")

    split = actions.add_parser("split", help="structured records to descriptions_level_{1,2,3}.json")
    split.add_argument("structured", type=path, metavar="STRUCTURED", help="JSON list or lines with perception, ...")
    split.add_argument("--out", type=path, required=True, help="folder to write")
    split.add_argument(
        "--separator", default=" ", help='between the parts; \\n and \\t are newline and tab (default "%(default)s")'
    )
    split.add_argument("--seed", type=_SEED, default=0, help="of the draw of the questions (default %(default)s)")
    split.add_argument(
        "--subject", type=text, default="painting", help="the noun in the questions (default %(default)s)"
    )
    split.add_argument("--questions", type=path, metavar="YAML", help="own wordings: level_1, level_2, level_3")

    leaks = actions.add_parser("leaks", help="texts that give the score away; exit status 1 if there are any")
    leaks.add_argument("files", nargs="+", type=path, metavar="FILE", help="descriptions, or structured records")
    leaks.add_argument(
        "--words", type=comma_names, metavar="W,W,...", help="rating words (default excellent,good,fair,poor,bad)"
    )
    leaks.add_argument("--json", action="store_true", help="one JSON object a line")


def _export(commands: Commands) -> None:
    command = _command(commands, "export", "export", "write a trained model in another form")
    add = command.add_argument
    add("model", type=path, metavar="MODEL", help="folder, owner/name[@revision] or short name")
    add("--out", type=path, required=True, help="folder to write")
    add(
        "--to",
        metavar="FORM",
        required=True,
        help="merged or native (the same): one model of ours; hub: the same with code for transformers alone; or a "
        "published form (a wrong name lists them)",
    )
    add("--push", metavar="OWNER/NAME", help="of --to hub: put it on the Hugging Face hub, too")
    add("--licence", metavar="ID", help="of --to hub: the weights' licence, as the hub names it")
    add("--metrics", type=path, metavar="FILE", help="of --to hub: metrics.json for its README (default: the run's)")
    add("--base", type=path, metavar="MODEL", help="base model (default: what the model says)")
    add("--allow-other-base", action="store_true", help="put a LoRA run over a base of other weights")
    add("--dtype", choices=("float32", "bfloat16"), help="of the weights (default float32; LoRA as is)")
    add("--format", choices=("safetensors", "bin"), help="of the weights (default: as published)")
    add("--untested", action="store_true", help="also networks that no test covers")
