"""Scores read over tokens of their own (`readout: {kind: score_tokens}`), through the real command line."""

import json
from pathlib import Path

import pytest

DEEPSPEED = Path(__file__).resolve().parents[2] / "configs" / "deepspeed"
READOUT = {"readout": {"kind": "score_tokens", "tokens": 5}}
WORDS = {"[SCORE]", *(f"[IMG{index}]" for index in range(5))}


@pytest.fixture(scope="module")
def run(lab, tmp_path_factory):
    """Folder of a two-stage run with adapters; the second stage goes on with the first one's."""
    settings = {"trainable": lab.as_published}
    stages = lab.descriptions(**settings), lab.scores(**settings, save_steps=2)
    return lab.train(tmp_path_factory.mktemp("score_tokens"), *stages, **READOUT)


def predictions(lab, model, out):
    """Lines of `artquant infer` on the held-out pictures."""
    options = ("--records", lab.records("test"), "--images", lab.images, "--workers", 0)
    assert lab.artquant("--quiet", "infer", "--model", model, *options, "--out", out) == 0
    return [json.loads(line) for line in out.read_text().splitlines()]


def test_learns_and_says_what_it_is(lab, run):
    history = lab.history(run, "scores")
    assert all(line["loss_score_l1"] > 0 and line["loss_score_text"] > 0 for line in history)
    assert history[-1]["loss"] < history[0]["loss"]
    card = json.loads((run / "scores" / "model" / "artquant.json").read_text())
    assert card["readout"]["kind"] == "score_tokens" and card["base"]["folder"] == str(lab.base)
    tokens = json.loads((run / "scores" / "model" / "tokenizer_config.json").read_text())["added_tokens_decoder"]
    assert {token["content"] for token in tokens.values()} >= WORDS


def test_scores_as_the_merged_model_does(lab, run, tmp_path):
    model, merged = run / "scores" / "model", tmp_path / "merged"
    assert lab.artquant("export", model, "--to", "merged", "--out", merged) == 0
    found, wanted = predictions(lab, model, tmp_path / "a.jsonl"), predictions(lab, merged, tmp_path / "b.jsonl")
    assert len(found) == 8
    for line, other in zip(found, wanted, strict=True):
        assert 1 <= line["score"] <= 10 and line["score"] == pytest.approx(other["score"], abs=1e-5)


def test_published_forms_are_refused(lab, run, tmp_path, capsys):
    for form in ("lora", "full"):
        assert lab.artquant("export", run / "scores" / "model", "--to", form, "--out", tmp_path / form) == 2
        assert "reads scores by score_tokens, which the published form" in capsys.readouterr().err


def test_resumed_run_is_the_same(lab, run, tmp_path, monkeypatch):
    from artquant.train.trainer import _StepEvents

    on_step_end = _StepEvents.on_step_end

    def stop_after_three(self, args, state, control, **rest):
        self.trainer.interrupted = state.global_step == 3
        return on_step_end(self, args, state, control, **rest)

    stage = lab.scores(trainable=lab.as_published, save_steps=2, start=str(run / "descriptions" / "model"))
    config = lab.write(tmp_path, stage, **READOUT)
    with monkeypatch.context() as patch:
        patch.setattr(_StepEvents, "on_step_end", stop_after_three)
        assert lab.artquant("train", "--config", config) == 143
    assert lab.artquant("train", "--config", config) == 0
    assert lab.history(tmp_path / "runs" / "run", "scores") == lab.history(run, "scores")
    assert lab.same_weights(tmp_path / "runs" / "run", run)


def test_everything_trains(lab, tmp_path):
    run = lab.train(tmp_path, lab.scores(), **READOUT)
    base, after = lab.weights(lab.base), lab.weights(run / "scores" / "model")
    assert len(after["lm_head.weight"]) == len(base["lm_head.weight"]) + len(WORDS)
    assert len(predictions(lab, run / "scores" / "model", tmp_path / "out.jsonl")) == 8


@pytest.mark.parametrize("zero", [2, 3])
def test_zero_on_two_ranks(lab, tmp_path, zero):
    """As one process does, with adapters."""
    pytest.importorskip("deepspeed")
    settings = {"trainable": lab.as_published, "max_steps": 3}
    alone = lab.train(tmp_path / "alone", lab.scores(**settings), **READOUT)
    stage = lab.scores(**settings, batch_size=2, deepspeed=str(DEEPSPEED / f"zero{zero}.json"))
    config = lab.write(tmp_path / "ranks", stage, **READOUT)
    done = lab.launch("train", "--config", config, "--launcher", "torchrun", "--ranks", 2)
    assert done.returncode == 0, done.stderr
    together = tmp_path / "ranks" / "runs" / "run"
    for line, other in zip(lab.history(together, "scores"), lab.history(alone, "scores"), strict=True):
        assert line["loss"] == pytest.approx(other["loss"], rel=1e-5)
    found, wanted = (lab.weights(place / "scores" / "model") for place in (together, alone))
    assert max((found[name] - wanted[name]).abs().max().item() for name in wanted) < 2e-5


def test_another_readout_cannot_go_on(lab, run, tmp_path, capsys):
    stage = lab.scores(trainable=lab.as_published, start=str(run / "scores" / "model"))
    assert lab.artquant("train", "--config", lab.write(tmp_path, stage)) == 2
    assert "was trained with a readout that added 6 words, this run's is rating_levels" in capsys.readouterr().err


def test_plan(lab, tmp_path, capsys):
    config = lab.write(tmp_path, lab.scores(trainable=lab.as_published), **READOUT)
    assert lab.artquant("plan", "--config", config, "--memory", "8GiB") == 0
    assert "fits" in capsys.readouterr().out
