"""A laboratory for whole runs: demo pictures, a tiny base model and the real command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml

import artquant
from artquant.cli import main

REPOSITORY = Path(__file__).resolve().parents[2]
PICTURES = 40  # 32 for training, 8 held out

# One thread, no GPU and the package that this process has.
OF_PROCESSES = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "DS_ACCELERATOR": "cpu"}
OF_PROCESSES["PYTHONPATH"] = str(Path(artquant.__file__).parents[1])

MODEL = {
    "vocabulary_size": 800,
    "image_size": 28,
    "patch_size": 14,
    "max_positions": 512,
    "vision": {"hidden": 32, "layers": 1, "heads": 2, "mlp": 64},
    "abstractor": {"hidden": 32, "layers": 1, "heads": 2, "mlp": 64, "queries": 4},
    "text": {"hidden": 32, "layers": 2, "heads": 2, "key_value_heads": 2, "mlp": 64},
}


@dataclass(frozen=True)
class Laboratory:
    """Data and base model that tests share, and what they do with them."""

    data: Path  # demo data set
    base: Path  # base model folder
    model: ClassVar = MODEL  # shape of the base model
    everything: ClassVar = {"lora": None, "vision": True, "projector": True, "decoder": True}
    as_published: ClassVar = {"lora": {"r": 4, "alpha": 8.0, "dropout": 0.0}}  # the rest is the published choice
    constant: ClassVar = {"learning_rate": 1e-3, "warmup_fraction": 0.0, "schedule": "constant"}  # an optimizer
    # What stays as it is even if everything trains: the position tables, and in the last decoder layer the norm after
    # attention of image positions, from where nothing reaches a learned token.
    fixed: ClassVar = frozenset(
        {
            "model.layers.1.post_attention_layernorm.multiway.1.weight",
            "model.visual_abstractor.encoder.layers.0.crossattention.attention.k_pos_embed",
            "model.visual_abstractor.encoder.layers.0.crossattention.attention.q_pos_embed",
        }
    )

    @property
    def images(self) -> Path:
        """Folder of the pictures."""
        return self.data / "images"

    def records(self, name: str) -> Path:
        """`score`, `descriptions_level_1`, `test`, ..."""
        return self.data / "meta" / f"{name}.json"

    def stage(self, name: str, records: dict[Path | str, float], **settings: Any) -> dict[str, Any]:
        """A stage of six steps on record files (or names of demo ones) with their weights."""
        data = [
            {"records": str(self.records(file) if isinstance(file, str) else file), "images": str(self.images)}
            | {"weight": weight}
            for file, weight in records.items()
        ]
        defaults = {
            "trainable": self.everything,
            "optimizer": {"learning_rate": 1e-3, "warmup_fraction": 0.0},
            "max_steps": 6,
            "batch_size": 4,
            "accumulation": 1,
            "max_length": 512,
            "workers": 0,
            "log_steps": 1,
        }
        return {"name": name, "data": data} | defaults | settings

    def descriptions(self, **settings: Any) -> dict[str, Any]:
        """The usual first stage."""
        return self.stage("descriptions", {"descriptions_level_1": 1, "descriptions_level_2": 1}, **settings)

    def scores(self, **settings: Any) -> dict[str, Any]:
        """The usual second stage."""
        return self.stage("scores", {"score": 1}, **settings)

    def write(self, folder: Path, *stages: dict[str, Any], **settings: Any) -> Path:
        """A run's YAML; the run is `folder/runs/run`."""
        config = {
            "run": "run",
            "base": str(self.base),
            "output": str(folder / "runs"),
            "stages": list(stages),
            "infer": {"records": str(self.records("test")), "images": str(self.images), "workers": 0},
        }
        file = folder / "run.yaml"
        folder.mkdir(parents=True, exist_ok=True)
        file.write_text(yaml.safe_dump(config | settings, sort_keys=False), encoding="utf-8")
        return file

    def train(self, folder: Path, *stages: dict[str, Any], **settings: Any) -> Path:
        """Train a run in this process; returns its folder."""
        assert self.artquant("train", "--config", self.write(folder, *stages, **settings)) == 0
        return folder / "runs" / "run"

    @staticmethod
    def artquant(*arguments: Any) -> int:
        """`artquant ARGUMENTS` in this process; returns the exit status."""
        return main([str(argument) for argument in arguments])

    @staticmethod
    def start(command: Sequence[Any], environment: Mapping[str, str] = os.environ, **options: Any) -> subprocess.Popen:
        """`python COMMAND` in a process of its own, with one thread, no GPU and the package that this one has."""
        return subprocess.Popen(
            [sys.executable, *map(str, command)],
            cwd=REPOSITORY,
            env={**environment, **OF_PROCESSES},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            **options,
        )

    def run(self, *command: Any) -> subprocess.CompletedProcess:
        """`python COMMAND` to its end."""
        process = self.start(command)
        out, err = process.communicate()
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    @staticmethod
    def launch(*arguments: Any) -> subprocess.CompletedProcess:
        """`artquant ARGUMENTS` in this process, which need not import everything anew, for a command that starts ranks.

        The ranks are processes of their own, with what `start` gives; stderr: what they said.
        """
        with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryFile("w+") as said:
            patch.chdir(REPOSITORY)
            for name, value in OF_PROCESSES.items():
                patch.setenv(name, value)
            before = os.dup(2)
            os.dup2(said.fileno(), 2)
            try:
                status = Laboratory.artquant(*arguments)
            finally:
                os.dup2(before, 2)
                os.close(before)
            said.seek(0)
            return subprocess.CompletedProcess(arguments, status, "", said.read())

    @staticmethod
    def history(run: Path, stage: str) -> list[dict[str, float]]:
        """A stage's log lines that hold a loss, without the figures that no two runs share."""
        lines = (run / stage / "history.jsonl").read_text(encoding="utf-8").splitlines()
        of_the_machine = ("images_per_second", "tokens_per_second", "peak_memory_gib", "seconds_left")
        kept = [{key: value for key, value in json.loads(line).items() if key not in of_the_machine} for line in lines]
        return [line for line in kept if "loss" in line]

    @staticmethod
    def weights(folder: Path) -> dict[str, Any]:
        """Tensors of a model folder's network; of an adapter's in float32 with the adapter merged in."""
        from safetensors.torch import load_file

        if (folder / "adapter_config.json").is_file():
            return Laboratory.network(folder).state_dict()
        return load_file(folder / "model.safetensors")

    @staticmethod
    def network(folder: Path, base: Path | None = None, **loading: Any) -> Any:
        """The network of a model folder, adapters merged; loading: settings as in `Loading`."""
        from artquant.config.schema import Loading
        from artquant.models.model_folder import ModelFolder
        from artquant.models.weights import load_network

        return load_network(ModelFolder.open(folder, base), Loading(**loading)).model

    def same_weights(self, one: Path, other: Path, stage: str = "scores") -> bool:
        """Whether two runs have learned the same, bit by bit."""
        before, after = (self.weights(run / stage / "model") for run in (one, other))
        return before.keys() == after.keys() and all(before[name].equal(after[name]) for name in before)

    def steps(self, run: Path, stage: str = "scores") -> list[float]:
        """The steps of a stage's log lines."""
        return [line["step"] for line in self.history(run, stage)]

    def moved(self, model: Path, start: Path | None = None) -> tuple[set[str], set[str]]:
        """Names of the tensors that differ from the start's (the base's), and of those that do not."""
        before, after = self.weights(start or self.base), self.weights(model)
        assert before.keys() == after.keys()
        changed = {name for name in before if not before[name].equal(after[name].to(before[name].dtype))}
        return changed, set(before) - changed


@contextmanager
def one_thread_and_no_gpu() -> Iterator[None]:
    """Tiny tensors: a second thread only waits for the first. Runs are compared, so all of them are on the CPU."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cuda, "is_available", lambda: False)
        patch.setattr(torch.cuda, "device_count", lambda: 0)
        yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="package", autouse=True)
def _one_thread_and_no_gpu():
    with one_thread_and_no_gpu():
        yield


# What all files only read is made once a session: files of other packages are run between those of this one.
@pytest.fixture(scope="session")
def lab(tmp_path_factory) -> Laboratory:
    """Demo pictures and a tiny base model, made by the commands."""
    folder = tmp_path_factory.mktemp("laboratory")
    lab = Laboratory(folder / "data", folder / "base")
    options = ("--images", PICTURES, "--seed", 0, "--workers", 1)
    assert lab.artquant("--quiet", "demo-data", "--out", lab.data, *options) == 0
    texts = [str(lab.records("descriptions_level_3")), str(lab.records("score"))]
    config = folder / "model.yaml"
    config.write_text(yaml.safe_dump({"texts": texts} | MODEL), encoding="utf-8")
    with one_thread_and_no_gpu():
        assert lab.artquant("init-model", "--config", config, "--out", lab.base) == 0
    return lab


@pytest.fixture(scope="session")
def two_stages(lab, tmp_path_factory) -> Path:
    """Folder of a run that learned descriptions, level by level, then scores; every parameter trains."""
    levels = lab.descriptions(order="in_order", save_steps=3)
    with one_thread_and_no_gpu():
        return lab.train(tmp_path_factory.mktemp("two_stages"), levels, lab.scores())


@pytest.fixture(scope="session")
def plain(lab, tmp_path_factory) -> Path:
    """Folder of a run of one stage, six steps on scores, without any trouble."""
    with one_thread_and_no_gpu():
        return lab.train(tmp_path_factory.mktemp("plain"), lab.scores())


@pytest.fixture(scope="session")
def lora_run(lab, tmp_path_factory) -> Path:
    """Folder of a two-stage run with adapters, vision encoder and abstractor training, as published."""
    settings = {"trainable": lab.as_published}
    with one_thread_and_no_gpu():
        folder = tmp_path_factory.mktemp("lora_run")
        return lab.train(folder, lab.descriptions(**settings), lab.scores(**settings))


@pytest.fixture
def recorded(monkeypatch) -> list[Any]:
    """The micro-batches that training in this process computes."""
    from artquant.train.trainer import ArtTrainer

    batches: list[Any] = []
    compute_loss = ArtTrainer.compute_loss

    def recording(self, model, inputs, *args, **kwargs):
        batches.append(inputs)
        return compute_loss(self, model, inputs, *args, **kwargs)

    monkeypatch.setattr(ArtTrainer, "compute_loss", recording)
    return batches


@pytest.fixture
def network(tiny_base):
    """A folder's network as clients read it, with its generation."""
    from transformers import AutoModelForImageTextToText

    import artquant.models

    assert artquant.models  # importing it is all that the Auto classes need
    return AutoModelForImageTextToText.from_pretrained(tiny_base).eval()


@pytest.fixture(scope="session")
def processor(tiny_base):
    """The same folder's processor (tests only read it)."""
    from transformers import AutoProcessor

    import artquant.models

    assert artquant.models
    return AutoProcessor.from_pretrained(tiny_base)
