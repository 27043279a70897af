"""The command line itself: help, light imports, messages and exit statuses."""

import argparse
import importlib
import logging
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

from artquant import __version__
from artquant.cli import main
from artquant.cli.parser import build_parser
from artquant.errors import ArtQuantError

REPOSITORY = Path(__file__).resolve().parents[2]
COMMANDS = [
    "demo",
    "demo-data",
    "demo-base",
    "init-model",
    "prepare",
    "check",
    "plan",
    "train",
    "infer",
    "score",
    "describe",
    "analyse",
    "familiar",
    "descriptions",
    "export",
    "eval",
    "compare",
    "matrix",
    "shard",
    "report",
    "rad",
    "serve",
]


def commands() -> dict[str, argparse.ArgumentParser]:
    [action] = [
        action for action in build_parser(__version__)._actions if isinstance(action, argparse._SubParsersAction)
    ]
    return action.choices


def python(code: str) -> str:
    """Run code in a fresh interpreter; returns what it prints."""
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_help_lists_every_command(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    printed = capsys.readouterr().out
    assert list(commands()) == COMMANDS
    assert re.findall(r"^ {4}(\S+)", printed, flags=re.MULTILINE) == COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    printed = capsys.readouterr().out
    assert f"usage: artquant {command}" in printed
    actions = commands()[command]._actions
    assert all(action.help or action.metavar == "IMAGE" for action in actions)
    assert all(option in printed for action in actions for option in action.option_strings)
    importlib.import_module(f"artquant.cli.{commands()[command].get_default('module')}")


def test_module_is_the_command():
    command = [sys.executable, "-m", "artquant", "--version"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"artquant {__version__}\n")


def test_help_loads_nothing_heavy():
    code = """
import sys
from artquant.cli import main
for command in ("train", "infer", "score", "eval", "demo-data"):
    try:
        main([command, "--help"])
    except SystemExit:
        pass
heavy = {"torch", "transformers", "peft", "deepspeed", "accelerate", "scipy", "matplotlib", "numpy", "PIL"}
print("loaded:", sorted(heavy & set(sys.modules)))
"""
    assert python(code).endswith("loaded: []\n")


def test_a_process_ends_with_its_status_when_all_is_written_and_put_away():
    """It is not taken apart, and it began without the garbage collector; neither is to be noticed."""
    code = """
import atexit, gc, sys, tempfile
from artquant.__main__ import command
sys.argv = ["artquant", "--quiet", "check", "--records", "nowhere.json", "--no-pictures"]
status = command()
folder = tempfile.TemporaryDirectory()
atexit.register(lambda: print("at the end", gc.isenabled(), status))
print(folder.name)
sys.exit(status)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr == ""
    *_, folder, last = done.stdout.splitlines()
    assert last == "at the end True 1" and "nowhere.json" in done.stdout
    assert Path(folder).is_absolute() and not Path(folder).exists()


def test_score_loads_only_what_it_needs(tmp_path):
    Image.new("RGB", (40, 40), "teal").save(tmp_path / "a.png")
    arguments = ["score", str(tmp_path / "a.png"), "--model", "ModelZoo/demo", "--anyway"]
    code = f"""
import sys
from artquant.cli import main
assert main({arguments!r}) == 0
needless = {{"peft", "deepspeed", "bitsandbytes", "datasets", "torchvision", "matplotlib", "pandas", "sklearn"}}
needless |= {{f"artquant.{{room}}" for room in ("check", "demo", "evaluate", "plan", "prepare", "train")}}
needless |= {{"transformers.trainer", "transformers.models.internvl.modeling_internvl", "torch.utils.tensorboard"}}
print("loaded:", sorted(needless & set(sys.modules)))
"""
    assert python(code).endswith("loaded: []\n")


def test_importing_adds_our_network_to_transformers_and_changes_nothing():
    code = """
import transformers
from transformers.models.auto import configuration_auto, modeling_auto, processing_auto, tokenization_auto
from transformers.models.llama import modeling_llama

def state():
    autos = (configuration_auto, modeling_auto, processing_auto, tokenization_auto)
    mappings = [value for module in autos for name, value in sorted(vars(module).items()) if name.endswith("MAPPING")]
    extra = {(place, str(key)) for place, one in enumerate(mappings) for key in getattr(one, "_extra_content", {})}
    classes = (modeling_llama.LlamaAttention, modeling_llama.LlamaDecoderLayer, modeling_llama.LlamaModel)
    names = set(configuration_auto.CONFIG_MAPPING.keys())
    return extra, [(cls, cls.forward, cls.__init__) for cls in classes], names

before = state()
import artquant
import artquant.infer
import artquant.models.weights
import artquant.models.families
import artquant.models.mplug_owl2
import artquant.train.stage
after = state()
added = after[0] - before[0]
print(before[1] == after[1], before[0] <= after[0], all("mplug" in key.lower() for _, key in added), len(added) > 5)
print(after[2] - before[2], before[2] - after[2])
"""
    assert python(code).splitlines()[-2:] == ["True True True True", "{'mplug_owl2'} set()"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "COMMAND"),
        (["paint"], "invalid choice: 'paint'"),
        (["train", "--config", "a.yaml", "--stages", "b"], "unrecognized arguments: --stages"),
        (["score", "--model", "m", "a.png", "--device", "cpu", "b=c"], "unrecognized arguments: b=c"),
        (["score", "a.png"], "--model"),
        (["score", "--model", "m", "--weights", "1,two", "a.png"], "--weights"),
        (["describe", "--model", "m", "--level", "4", "a.png"], "--level"),
        (["demo-data", "--out", "unused", "--images", "1"], "--images: must be from 2 to"),
        (["eval", "--seed", "-1"], "--seed: must be from 0 to 4294967295, got -1"),
        (["eval", "--choices", "c.json", "--bootstrap", "-1"], "--bootstrap: must be from 0"),
        (["plan", "a.yaml", "--length", "99999999999"], "--length: must be from 1 to"),
        (["train", "a.yaml", "--ranks", "0"], "--ranks: must be from 1"),
        (["check", "--records", "a.json", "--workers", "-1"], "--workers: must be from 0"),
        (["infer", "--batch-size", "9" * 30], "--batch-size: must be from 1"),
        (["describe", "--model", "m", "--max-new-tokens", "0", "a.png"], "--max-new-tokens: must be from 1"),
        (["score", "--model", "m", "--device", "meta", "a.png"], "--device: must be auto, cpu, cuda, cuda:N or mps"),
        (["score", "--model", "m", "--range", "1,1e300", "a.png"], "--range: must be from -1e+09 to 1e+09"),
        (["score", "--model", "m", "--range", "0,inf", "a.png"], "--range: must be from -1e+09 to 1e+09"),
        (["score", "--model", "m", "--range", "nan,1", "a.png"], "--range: must be from -1e+09 to 1e+09"),
        (["plan", "a.yaml", "--memory", "1GiB", "--gpus", "0"], "--gpus: must be from 1"),
        (["prepare", "baid", "a.csv", "--readout", "score_tokens", "--tokens", "1"], "--tokens: must be from 2"),
        (["eval", "--choices", "c.json", "--model", "m", "--batch-size", "0"], "--batch-size: must be from 1"),
        (["infer", "--model", "m", "--records", "", "--out", "o"], "--records: is empty"),
        (["score", "--model", "m", "--attribute", "", "a.png"], "--attribute: is empty"),
        (["score", "--model", "m", "--attribute", " ", "a.png"], "--attribute: is empty"),
    ],
)
def test_usage_errors(arguments, message, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["infer", "--model", "m", "--records", "r.json"], "without --config, --out is needed"),
        (["eval"], "give --config, or --predictions and --truth"),
        (["eval", "--predictions", "p.jsonl"], "give one --truth, or as many as --predictions: 0 and 1"),
        (["train"], "name a configuration: --config YAML"),
        (["train", "a.yaml", "b.yaml"], "'b.yaml' is neither a setting (key=value) nor needed: --config a.yaml"),
        (
            ["eval", "--predictions", "p", "--truth", "t", "--score-range", "5,1"],
            "--score-range takes two rising numbers",
        ),
        (["train", "--config", "nowhere.yaml"], "nowhere.yaml: cannot be read"),
        (["train", "seed=1", "nowhere.yaml"], "nowhere.yaml: cannot be read"),
        (["plan", "nowhere.yaml"], "this machine has no GPU to ask; name the memory of yours (--memory 24GiB)"),
        (
            ["infer", "--model", "m", "--records", "r", "--out", "o", "a=b"],
            "key=value changes a configuration; name one with --config",
        ),
        (["eval", "--predictions", "p", "--truth", "t", "a=b"], "key=value changes a configuration; name one"),
        (["eval", "--predictions", "p", "--truth", "t", "--no-plot"], "--no-plot leaves plots out of the folder"),
        (["check", "--records", "r", "--images", "i", "--no-pictures"], "--images is about the pictures' files"),
        (["train", "a.yaml", "--master", "host:1"], "--master says where several machines meet"),
        (["score", "--model", "m", "--max-new-tokens", "9", "a.png"], "--max-new-tokens is the length of a text"),
        (["analyse", "--model", "m", "--images", "i", "a.png"], "--images goes with --records"),
        (["eval", "--predictions", "p", "--truth", "t", "--score-range", "-1,1"], "p: cannot be read"),
        (["plan", "a.yaml", "--memory", "9" * 400 + "GiB"], "must be above 0 and at most 1024 TiB"),
        (["train", "/dev/zero"], "it is a pipe or a device; name a regular file"),
        (["infer", "--model", "n" * 300, "--records", "r", "--out", "o"], "File name too long"),
    ],
)
def test_errors_are_one_line_and_status_2(arguments, message, capsys):
    assert main(arguments) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"artquant {arguments[0]}: error: ") and message in line


@pytest.mark.parametrize(
    ("raised", "status", "printed"),
    [
        (ArtQuantError("a.json record 3:\n  is  odd"), 2, "artquant eval: error: a.json record 3: is odd\n"),
        (KeyboardInterrupt(), 130, "artquant eval: interrupted\n"),
    ],
)
def test_what_a_command_raises(monkeypatch, capsys, raised, status, printed):
    def run(arguments):
        raise raised

    monkeypatch.setattr(importlib, "import_module", lambda name: SimpleNamespace(run=run))
    assert main(["eval"]) == status
    assert capsys.readouterr().err == printed


def test_programming_errors_are_not_hidden(monkeypatch):
    def run(arguments):
        raise ZeroDivisionError

    monkeypatch.setattr(importlib, "import_module", lambda name: SimpleNamespace(run=run))
    with pytest.raises(ZeroDivisionError):
        main(["eval"])


@pytest.mark.parametrize(
    ("rank", "options", "level"),
    [("0", [], logging.INFO), ("0", ["--quiet"], logging.WARNING), ("1", [], logging.WARNING)],
)
def test_messages_come_from_the_first_rank(monkeypatch, rank, options, level):
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setattr(importlib, "import_module", lambda name: SimpleNamespace(run=lambda arguments: 0))
    for before, after in ((options, []), ([], options)):
        assert main([*before, "eval", *after]) == 0
        assert logging.getLogger("artquant").level == level
