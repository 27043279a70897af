"""One process through `artquant train`: files, what moves and what does not, data order, options."""

import json
import logging
from collections import Counter

import pytest
import torch

from artquant.config.load import load_config

SOURCE = "descriptions_level_{}.json"


def test_files_of_a_run(lab, two_stages):
    for stage, checkpoints in (("descriptions", {"checkpoint-3", "checkpoint-6"}), ("scores", {"checkpoint-6"})):
        folder = two_stages / stage
        assert {path.name for path in folder.iterdir()} == {"checkpoints", "history.jsonl", "model"}
        assert {path.name for path in (folder / "checkpoints").glob("checkpoint-*")} == checkpoints
        assert {"config.json", "model.safetensors", "tokenizer.model", "preprocessor_config.json", "artquant.json"} <= {
            path.name for path in (folder / "model").iterdir()
        }
    resolved = load_config(two_stages / "config.yaml")
    assert resolved == load_config(two_stages.parents[1] / "run.yaml")
    card = json.loads((two_stages / "scores" / "model" / "artquant.json").read_text(encoding="utf-8"))
    assert card["history"]["start"] == str(two_stages / "descriptions" / "model")
    assert (card["history"]["stage"], card["history"]["steps"]) == ("scores", 6)


def test_every_parameter_moves_in_both_stages(lab, two_stages):
    first, second = two_stages / "descriptions" / "model", two_stages / "scores" / "model"
    assert lab.moved(first)[1] == lab.fixed
    assert lab.moved(second, first)[1] == lab.fixed


def test_history_holds_the_loss_of_each_task(lab, two_stages):
    first, second = lab.history(two_stages, "descriptions"), lab.history(two_stages, "scores")
    assert [line["step"] for line in first] == [line["step"] for line in second] == [1, 2, 3, 4, 5, 6]
    for line in first:
        assert "loss_score_text" not in line and "loss_score_distribution" not in line
        assert line["loss"] == pytest.approx(line["loss_description"], rel=1e-6)
    for line in second:
        assert "loss_description" not in line
        weighted = 0.05 * line["loss_score_text"] + 0.05 * line["loss_score_distribution"]
        assert line["loss"] == pytest.approx(weighted, rel=1e-6)
    assert first[-1]["loss"] < first[0]["loss"] and second[-1]["loss"] < second[0]["loss"]


def test_a_second_call_does_nothing_and_says_so(lab, two_stages, capsys):
    models = [two_stages / stage / "model" / "model.safetensors" for stage in ("descriptions", "scores")]
    before = [file.stat().st_mtime_ns for file in models]
    assert lab.artquant("train", "--config", two_stages.parents[1] / "run.yaml") == 0
    assert capsys.readouterr().out == f"run run: nothing is left to do; model in {two_stages / 'scores' / 'model'}\n"
    assert [file.stat().st_mtime_ns for file in models] == before


def test_another_configuration_is_refused_by_key(lab, two_stages, capsys):
    config = two_stages.parents[1] / "run.yaml"
    assert lab.artquant("train", "--config", config, "stages.scores.optimizer.learning_rate=0.002") == 2
    error = capsys.readouterr().err
    assert "stages.1.optimizer.learning_rate was 0.001, is 0.002" in error
    assert str(two_stages / "config.yaml") in error


def test_scoring_settings_may_change_after_training(lab, two_stages):
    config = two_stages.parents[1] / "run.yaml"
    assert lab.artquant("train", "--config", config, "infer.batch_size=3") == 0


def test_only_the_named_stage(lab, tmp_path, capsys):
    config = lab.write(tmp_path, lab.descriptions(max_steps=1), lab.scores(max_steps=1))
    assert lab.artquant("train", "--config", config, "--stage", "descriptions") == 0
    run = tmp_path / "runs" / "run"
    assert (run / "descriptions" / "model").is_dir() and not (run / "scores").exists()
    assert str(run / "descriptions" / "model") in capsys.readouterr().out


@pytest.mark.parametrize("parts", [("projector", "vision"), ("projector",), ("vision",)])
def test_visual_parts_alone(lab, tmp_path, parts):
    trainable = {"lora": None, "decoder": False, "projector": False, "vision": False}
    run = lab.train(tmp_path, lab.descriptions(trainable=trainable | dict.fromkeys(parts, True)))
    changed, _ = lab.moved(run / "descriptions" / "model")
    prefixes = {"projector": "model.visual_abstractor.", "vision": "model.vision_model."}
    wanted = tuple(prefixes[part] for part in parts)
    assert changed == {name for name in lab.weights(lab.base) if name.startswith(wanted)} - lab.fixed


def test_lora_as_published_changes_what_it_should(lab, lora_run):
    layers = ["q_proj.weight", "v_proj.multiway.1.weight"]
    adapted = {f"model.layers.{index}.self_attn.{name}" for index in range(2) for name in layers}
    visual = {name for name in lab.weights(lab.base) if "vision_model" in name or "visual_abstractor" in name}
    for stage in ("descriptions", "scores"):
        assert lab.moved(lora_run / stage / "model")[0] == adapted | visual - lab.fixed
    changed, _ = lab.moved(lora_run / "scores" / "model", lora_run / "descriptions" / "model")
    assert changed == adapted | visual - lab.fixed


def test_a_lora_stage_keeps_what_it_trained_alone(lab, lora_run):
    """The adapter form, which knows its base; not a copy of the whole model."""
    for stage in ("descriptions", "scores"):
        model = lora_run / stage / "model"
        weights = {"adapter_model.safetensors", "non_lora_trainables.safetensors"}
        about = ("token", "processor", "chat_template")
        processor = {path.name for path in lab.base.iterdir() if any(word in path.name for word in about)}
        assert "tokenizer.model" in processor and "preprocessor_config.json" in processor
        settings = {"config.json", "adapter_config.json", "artquant.json"}
        assert {path.name for path in model.iterdir()} == weights | settings | processor
        assert json.loads((model / "config.json").read_text())[
            "use_cache"
        ]  # describing without one reads all words again for each
        by_itself, over = (lab.network(model, base).state_dict() for base in (None, lab.base))
        assert all(by_itself[name].equal(over[name]) for name in over)


def test_second_stage_goes_on_with_the_adapter(lab, lora_run, tmp_path, caplog):
    settings = {"trainable": lab.as_published, "max_steps": 1}
    first = lora_run / "descriptions" / "model"
    run = lab.train(tmp_path, lab.scores(start=str(first), **settings))
    assert f"going on with the adapter of {first} over {lab.base}" in caplog.text
    before, after = (torch_adapter(model) for model in (first, run / "scores" / "model"))
    largest = max((after[name] - before[name]).abs().max().item() for name in before)
    assert 0 < largest <= 1.1e-3  # one step of AdamW at 1e-3 away from the first stage's adapter, not a fresh one


def torch_adapter(model):
    from safetensors.torch import load_file

    return load_file(model / "adapter_model.safetensors")


def test_another_adapter_starts_on_top_of_the_last_stage(lab, lora_run, tmp_path, caplog):
    """Ranks 4, 2, 2 in three stages: nothing of the first is lost in the third."""
    narrow = {"trainable": {"lora": {"r": 2, "alpha": 4.0, "dropout": 0.0}}, "max_steps": 1}
    gentle = {"optimizer": {"learning_rate": 1e-9, "warmup_fraction": 0.0}}
    start = lora_run / "descriptions" / "model"
    second, third = lab.scores(start=str(start), **narrow, **gentle), lab.scores(**narrow, **gentle) | {"name": "more"}
    run = lab.train(tmp_path, second, third)
    before, after = lab.weights(start), lab.weights(run / "more" / "model")
    assert max((after[name] - before[name]).abs().max().item() for name in before) < 1e-6


def test_order_and_weights_of_the_sets(lab, tmp_path, recorded):
    sets = {"descriptions_level_1": 0.25, "descriptions_level_2": 2.5}
    lab.train(tmp_path, lab.stage("levels", sets, order="in_order", max_steps=-1, epochs=1))
    sources = [source for batch in recorded for source in batch.sources]
    files = [source.split(" record")[0].rsplit("/", 1)[1] for source in sources]
    assert files == [SOURCE.format(1)] * 8 + [SOURCE.format(2)] * 80  # 32 records each
    assert len(set(sources[:8])) == 8
    times = Counter(Counter(sources[8:]).values())
    assert times == {2: 16, 3: 16}


def test_epochs_differ_in_order_but_not_in_content(lab, tmp_path, recorded):
    lab.train(tmp_path, lab.scores(max_steps=-1, epochs=2))
    sources = [source for batch in recorded for source in batch.sources]
    first, second = sources[:32], sources[32:]
    assert sorted(first) == sorted(second) and first != second
    assert len(set(first)) == 32


def test_tasks_mixed_in_one_stage(lab, tmp_path, recorded):
    sets = {"score": 1, "descriptions_level_1": 1}
    loss = {"description": 1.0, "score_text": 0.5}
    run = lab.train(tmp_path, lab.stage("joint", sets, loss=loss | {"score": {"score_distribution": 2.0}}))
    loss["score_distribution"] = 2.0
    assert any(batch.text.counts[0] and len(batch.scored) for batch in recorded)
    for line in lab.history(run, "joint"):
        weighted = sum(weight * line.get(f"loss_{task}", 0.0) for task, weight in loss.items())
        assert line["loss"] == pytest.approx(weighted, rel=1e-6)
    assert lab.moved(run / "joint" / "model")[1] == lab.fixed


def test_bfloat16_stage(lab, lora_run, tmp_path):
    model = {"dtype": "bfloat16"}
    settings = {"trainable": lab.as_published}
    run = lab.train(tmp_path, lab.descriptions(**settings), lab.scores(**settings), model=model)
    stored = torch_adapter(run / "scores" / "model")
    assert {tensor.dtype for tensor in stored.values()} == {torch.float32}  # what trains is not rounded
    changed, _ = lab.moved(run / "scores" / "model")
    assert any("q_proj" in name for name in changed) and any("vision_model" in name for name in changed)
    full, half = ([line["loss"] for line in lab.history(one, "descriptions")] for one in (lora_run, run))
    assert half == pytest.approx(full, rel=0.001)


def test_gradient_checkpointing_changes_no_loss(lab, lora_run, tmp_path):
    settings = {"trainable": lab.as_published}
    run = lab.train(tmp_path, lab.descriptions(**settings), model={"gradient_checkpointing": True})
    expected = lab.history(lora_run, "descriptions")
    for line, wanted in zip(lab.history(run, "descriptions"), expected, strict=True):
        assert line["loss"] == pytest.approx(wanted["loss"], rel=1e-6)
        assert line["grad_norm"] == pytest.approx(wanted["grad_norm"], rel=1e-5)


def test_checkpointing_only_where_memory_demands_it(lab, tmp_path, caplog, monkeypatch):
    """Decided before the first step; a run that goes on keeps to it, and its configuration tells."""
    caplog.set_level(logging.INFO)
    settings = {"trainable": lab.as_published, "max_length": 64, "max_steps": 2, "epochs": 1, "save_steps": 2}
    first, second = (lab.scores(**settings) | {"name": name} for name in ("scores", "more"))
    for memory, said in ((1 << 40, "off"), (1 << 20, "on")):
        caplog.clear()
        monkeypatch.setattr("artquant.plan.checkpointing.memory_here", lambda ranks, size=memory: (size, "cpu"))
        file = lab.write(tmp_path / said, first, second, model={"gradient_checkpointing": None})
        assert lab.artquant("train", "--config", file, "--stage", "scores") == 0
        assert f"gradient checkpointing {said}: stage scores needs " in caplog.text
        caplog.clear()
        monkeypatch.setattr("artquant.plan.checkpointing.memory_here", lambda ranks: (1 << 30, "cpu"))
        assert lab.artquant("train", "--config", file) == 0
        assert "gradient checkpointing" not in caplog.text
        kept = load_config(tmp_path / said / "runs" / "run" / "config.yaml")
        assert kept.model.gradient_checkpointing == (said == "on")
    histories = [lab.history(tmp_path / said / "runs" / "run", "more") for said in ("off", "on")]
    for line, wanted in zip(*histories, strict=True):
        assert line["loss"] == pytest.approx(wanted["loss"], rel=1e-6)


def test_learning_rates_of_the_parts_take_effect(lab, tmp_path):
    rates = {"learning_rate": 1e-3, "vision_learning_rate": 1e-5, "projector_learning_rate": 1e-7}
    run = lab.train(tmp_path, lab.descriptions(optimizer=rates | {"warmup_fraction": 0.0, "schedule": "constant"}))
    stored = torch.load(run / "descriptions" / "checkpoints" / "checkpoint-6" / "optimizer.pt", weights_only=True)
    assert {group["name"]: group["lr"] for group in stored["param_groups"]} == {
        "vision": 1e-5,
        "projector": 1e-7,
        "decoder": 1e-3,
        "head": 1e-3,
    }
    before, after = lab.weights(lab.base), lab.weights(run / "descriptions" / "model")
    for part, rate in (("vision_model", 1e-5), ("visual_abstractor", 1e-7), ("model.layers", 1e-3)):
        change = max((after[name] - before[name]).abs().max().item() for name in before if part in name)
        assert rate <= change <= 8 * rate  # six steps of AdamW, each of about the rate


def test_group_by_length_pads_less(lab, tmp_path, recorded):
    sets = {"score": 1, "descriptions_level_3": 1}
    padding, seen = {}, {}
    for grouped in (False, True):
        recorded.clear()
        stage = lab.stage("mixed", sets, group_by_length=grouped, max_steps=-1, epochs=1)
        lab.train(tmp_path / str(grouped), stage)
        seen[grouped] = sorted(source for batch in recorded for source in batch.sources)
        masks = [batch.inputs["attention_mask"] for batch in recorded]
        padding[grouped] = sum((mask == 0).sum().item() for mask in masks)
    assert seen[True] == seen[False] and len(set(seen[True])) == 64
    assert padding[True] < 0.5 * padding[False]


def test_worker_processes_change_nothing(lab, two_stages, tmp_path):
    run = lab.train(tmp_path, lab.descriptions(order="in_order", workers=2, max_steps=3))
    losses = [line["loss_description"] for line in lab.history(run, "descriptions")]
    expected = [line["loss_description"] for line in lab.history(two_stages, "descriptions")]
    assert losses[0] == pytest.approx(expected[0], rel=1e-6)  # later ones follow another schedule
    assert len(losses) == 3
