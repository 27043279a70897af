"""ROC4MLLM in this house: its recipes, its folders trained on, written and read, answers with several scores."""

import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from cards import without_mark
from roc4mllm_data import ROC, published_records
from safetensors.torch import load_file

from artquant.config.load import load_config
from artquant.data.images import list_pictures, load_image
from artquant.infer.scorer import Scorer

REPOSITORY = Path(__file__).resolve().parents[2]
RECIPES = sorted((REPOSITORY / "configs" / "roc4mllm").glob("*.yaml"))
HALF = {"hidden": 32, "layers": 2, "heads": 2, "mlp": 64}
SHAPE = {"vocabulary_size": 700, "image_size": 32, "patch_size": 8, "max_positions": 1024, "vision": HALF, "text": HALF}


@pytest.fixture(scope="module")
def published(lab, tmp_path_factory):
    """A file of records as published."""
    file = tmp_path_factory.mktemp("published") / "records.json"
    file.write_text(json.dumps(published_records(lab)), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def run(lab, published, tmp_path_factory):
    """Trained on them, everything at once."""
    loss = {"score_text": 1.0, "score": {"score_l1": 1.0, "score_ce": 1.0, "score_emd_batch": 1.0}}
    stage = lab.stage("scores", {published: 1}, loss=loss, max_steps=3)
    return lab.train(tmp_path_factory.mktemp("roc"), stage, **ROC)


@pytest.fixture(scope="module")
def folder(lab, run, tmp_path_factory):
    """The result in the published form."""
    out = tmp_path_factory.mktemp("form") / "model"
    assert lab.artquant("export", run / "scores" / "model", "--to", "roc4mllm", "--out", out) == 0
    return out


@pytest.fixture(scope="module")
def pictures(lab):
    return [load_image(path) for path in list_pictures(lab.images)[:4]]


def logits(folder, pictures, **options):
    scores = Scorer.from_pretrained(folder, device="cpu", **options)(pictures)
    return torch.tensor([list(score.logits.values()) for score in scores])


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_recipes_at_miniature_size(lab, published, tmp_path, recipe):
    """As they stand, but for the model's size, the data, the launcher and bfloat16."""
    base, kind = lab.base, {"llava": "llava", "qwen2_vl": "qwen2_vl"}.get(recipe.stem)
    if kind is not None:
        records = json.loads(published.read_text())
        published = tmp_path / "records.json"
        del records[
            2
        ]  # an answer that begins with its score: there it swallows the line break before it, and is refused
        published.write_text(json.dumps(records))
        base, config = tmp_path / "base", tmp_path / "base.yaml"
        texts = [str(lab.records("score"))]
        config.write_text(yaml.safe_dump({"texts": texts, "model_type": kind} | SHAPE), encoding="utf-8")
        assert lab.artquant("init-model", "--config", config, "--out", base) == 0
    stage = {
        "deepspeed": "null",
        "max_steps": 2,
        "workers": 0,
        "batch_size": 4,
        "log_steps": 1,
        "optimizer.learning_rate": 1e-3,
        "max_length": 1024,
    }
    stage |= {"data.0.records": published, "data.0.images": lab.images}
    changes = {"base": base, "output": tmp_path / "runs", "model.dtype": "float32", "infer.dtype": "float32"}
    changes |= {"infer.records": lab.records("test"), "infer.images": lab.images, "infer.workers": 0}
    changes |= {f"stages.scores.{key}": value for key, value in stage.items()}
    overrides = [f"{key}={value}" for key, value in changes.items()]
    for command in ("train", "infer", "eval"):
        assert lab.artquant(command, "--config", recipe, *overrides) == 0
    folder = tmp_path / "runs" / load_config(recipe).run
    [line, *_] = [json.loads(line) for line in (folder / "scores" / "history.jsonl").read_text().splitlines()]
    terms = {"loss_score_text", "loss_score_ce"} | (set() if recipe.stem == "script" else {"loss_score_l1"})
    assert {key for key in line if key.startswith("loss_")} == terms
    assert len((folder / "predictions.jsonl").read_text().splitlines()) == 8


class TestPublishedForm:
    def test_files(self, lab, folder):
        """What ROC4MLLM's code reads scores by, and the preprocessor that its training does not write."""
        config = json.loads((folder / "config.json").read_text())
        first = config["score_id"]
        assert (config["output_first_id"], config["output_last_id"]) == (first + 1, first + 10)
        assert (config["num_tokens"], config["img_token_num"], config["vocab_size"]) == (10, 10, first + 11)
        assert (config["min_score"], config["max_score"]) == (1, 10) and "level_prefix" not in config
        assert {"l1_weight", "ce_weight", "emd_weight"} <= config.keys()
        words = json.loads((folder / "added_tokens.json").read_text())
        assert words == {"[SCORE]": first} | {f"[IMG{index}]": first + 1 + index for index in range(10)}
        names = {path.name for path in folder.iterdir()}
        assert {"pytorch_model.bin", "preprocessor_config.json", "tokenizer.model"} <= names
        assert "artquant.json" not in names

    def test_equal_logits(self, lab, run, folder, pictures, tmp_path):
        assert torch.equal(logits(folder, pictures), logits(run / "scores" / "model", pictures))
        again = tmp_path / "again"
        assert lab.artquant("export", folder, "--to", "roc4mllm", "--out", again) == 0
        assert torch.equal(logits(again, pictures), logits(folder, pictures))

    def test_room_in_the_vocabulary_is_cut_off(self, lab, folder, pictures, tmp_path):
        """The published code takes the last rows of the table, whatever stands there."""
        padded = tmp_path / "padded"
        network = lab.network(folder)
        network.resize_token_embeddings(network.config.vocab_size + 5)
        shutil.copytree(folder, padded, ignore=shutil.ignore_patterns("*.bin"))
        network.save_pretrained(padded)
        out = tmp_path / "out"
        assert lab.artquant("export", padded, "--to", "roc4mllm", "--out", out) == 0
        assert len(torch.load(out / "pytorch_model.bin", weights_only=True)["lm_head.weight"]) == 811
        assert torch.equal(logits(out, pictures), logits(folder, pictures))

    def test_other_readouts_and_prompts_are_refused(self, lab, folder, tmp_path, capsys):
        assert lab.artquant("export", folder, "--to", "full", "--out", tmp_path / "full") == 2
        assert "which the published form full cannot say; export it as merged or roc4mllm" in capsys.readouterr().err
        stage = lab.stage("scores", {"score": 1}, max_steps=1)
        for name, settings, message in (
            ("words", {}, "reads scores by rating_levels, which the published form roc4mllm cannot say"),
            ("asked", {"readout": {"kind": "score_tokens"}}, "code for the form roc4mllm always asks with 'roc4mllm'"),
        ):
            model = lab.train(tmp_path / name, stage, **settings) / "scores" / "model"
            assert lab.artquant("export", model, "--to", "roc4mllm", "--out", tmp_path / "out") == 2
            assert message in capsys.readouterr().err and not (tmp_path / "out").exists()

    @pytest.mark.parametrize("missing", [(), ("added_tokens.json", "tokenizer_config.json", "special_tokens_map.json")])
    def test_trained_on(self, lab, published, folder, tmp_path, missing):
        """The eleven rows are kept, not made anew, whether or not the tokenizer's files name the words."""
        start = tmp_path / "start"
        shutil.copytree(folder, start, ignore=shutil.ignore_patterns(*missing))
        slow = {"learning_rate": 1e-9, "warmup_fraction": 0.0}
        stage = lab.stage("scores", {published: 1}, optimizer=slow, max_steps=1)
        after = lab.weights(lab.train(tmp_path, stage, base=str(start), **ROC) / "scores" / "model")
        before = torch.load(folder / "pytorch_model.bin", weights_only=True)
        for table in ("lm_head.weight", "model.embed_tokens.weight"):
            torch.testing.assert_close(after[table], before[table], rtol=0, atol=1e-6)

    @pytest.mark.parametrize("readout", [{"kind": "score_tokens", "tokens": 20}, {"kind": "rating_levels"}])
    def test_another_readout_cannot_go_on(self, lab, published, folder, tmp_path, capsys, readout):
        config = lab.write(tmp_path, lab.stage("scores", {"score": 1}), base=str(folder), readout=readout)
        assert lab.artquant("train", "--config", config) == 2
        assert "was trained with a readout that added 11 words" in capsys.readouterr().err

    def test_lora_results_are_read(self, lab, published, pictures, tmp_path):
        """Adapter, and beside it tables, vision encoder and abstractor whole; the tokenizer is the base's."""
        from peft import LoraConfig, get_peft_model, get_peft_model_state_dict

        stage = lab.stage("scores", {published: 1}, max_steps=2)
        model = lab.train(tmp_path, stage, **ROC) / "scores" / "model"
        whole = load_file(model / "model.safetensors")
        network = lab.network(lab.base)
        network.resize_token_embeddings(811)
        torch.manual_seed(0)
        targets = ["q_proj", "k_proj.multiway.0", "o_proj"]
        adapted = get_peft_model(
            network, LoraConfig(r=2, lora_alpha=4, target_modules=targets, init_lora_weights=False)
        )
        beside = ("embed_tokens", "lm_head", "vision_model", "visual_abstractor")
        base = adapted.get_base_model()
        learned = {name for name, _ in base.named_parameters()}
        kept = {name: whole[name] for name in whole if name in learned and any(part in name for part in beside)}
        base.load_state_dict(kept, strict=False)
        out = tmp_path / "lora"
        out.mkdir()
        adapted.peft_config["default"].save_pretrained(out)
        torch.save(get_peft_model_state_dict(adapted, save_embedding_layers=False), out / "adapter_model.bin")
        torch.save({f"base_model.model.{name}": value for name, value in kept.items()}, out / "non_lora_trainables.bin")
        without_mark(model / "config.json", out)
        found = logits(out, pictures, base=lab.base)
        merged = adapted.merge_and_unload()
        form = tmp_path / "form"
        assert lab.artquant("export", model, "--to", "roc4mllm", "--out", form) == 0
        torch.save(merged.state_dict(), form / "pytorch_model.bin")
        torch.testing.assert_close(found, logits(form, pictures), rtol=0, atol=1e-5)


class TestSeveralScores:
    def test_attributes_are_read_from_one_text(self, lab, folder, pictures, capsys):
        """In one pass, whatever the number of pictures in a batch; each as the text before it says."""
        names = ("composition", "DoF", "light")
        scorer = Scorer.from_pretrained(folder, device="cpu")
        together = scorer(pictures, batch_size=4, attributes=names)
        alone = [scorer([picture], attributes=names)[0] for picture in pictures]
        for one, other in zip(together, alone, strict=True):
            assert one.score == pytest.approx(other.score, abs=1e-5) and tuple(one.attributes) == names
            for name in names:
                assert one.attributes[name].score == pytest.approx(other.attributes[name].score, abs=1e-5)
        options = [argument for name in names for argument in ("--attribute", name)]
        assert lab.artquant("score", list_pictures(lab.images)[0], "--model", folder, "--json", *options) == 0
        line = json.loads(capsys.readouterr().out)
        assert line["names"] == ["aesthetics", *names]
        assert line["scores"] == [line["score"], *(line["attributes"][name]["score"] for name in names)]

    def test_a_model_says_that_it_was_trained_so(self, lab, published, tmp_path, run):
        """Names in the records become attributes of the model, which are scored together afterwards."""
        records = json.loads(published.read_text())
        records[1]["attribute"] = [None, "composition", "DoF", "light", "content"]
        file = tmp_path / "named.json"
        file.write_text(json.dumps(records[:2]))
        model = lab.train(tmp_path, lab.stage("scores", {file: 1}, max_steps=1), **ROC) / "scores" / "model"
        card = json.loads((model / "artquant.json").read_text())
        assert card["attributes"] == ["composition", "DoF", "light", "content"] and card["one_text"] is True
        out = tmp_path / "out.jsonl"
        options = ("--records", lab.records("test"), "--images", lab.images, "--workers", 0, "--attributes")
        assert lab.artquant("--quiet", "infer", "--model", model, *options, "--out", out) == 0
        line = json.loads(out.read_text().splitlines()[0])
        assert list(line["attributes"]) == card["attributes"]


class TestRanges:
    def test_predictions_and_evaluation(self, lab, folder, tmp_path, capsys):
        """Mapped when predicted or when evaluated: the same figures."""
        options = ("--records", lab.records("test"), "--images", lab.images, "--workers", 0, "--model", folder)
        files = {"own": (), "mapped": ("--range", "1,5")}
        for name, more in files.items():
            out = tmp_path / f"{name}.jsonl"
            assert lab.artquant("--quiet", "infer", *options, *more, "--out", out) == 0
        own, mapped = ([json.loads(line) for line in (tmp_path / f"{name}.jsonl").open()] for name in files)
        for one, other in zip(own, mapped, strict=True):
            assert other["score"] == pytest.approx(1 + (one["score"] - 1) * 4 / 9, abs=1e-6)
            assert other["std"] == pytest.approx(one["std"] * 4 / 9, abs=1e-6)
        truth = json.loads(lab.records("test").read_text())
        for record in truth:
            record["gt_score"] = 1 + (record["gt_score"] - 1) * 4 / 9
        (tmp_path / "truth.json").write_text(json.dumps(truth))
        for lines in (own, mapped):  # the list that was predicted had other true scores
            for line in lines:
                del line["gt_score"]
        figures = []
        for name, lines, more in (("own", own, ("--predicted-range", "1,10")), ("mapped", mapped, ())):
            file = tmp_path / f"{name}-bare.jsonl"
            file.write_text("".join(json.dumps(line) + "\n" for line in lines))
            capsys.readouterr()
            pair = ("--predictions", file, "--truth", tmp_path / "truth.json", "--score-range", "1,5")
            assert lab.artquant("eval", *pair, "--json", "--bootstrap", "0", *more) == 0
            figures.append(json.loads(capsys.readouterr().out)[0])
        one, other = (
            {name: figure["metrics"][name]["value"] for name in ("SRCC", "PLCC", "MAE")} for figure in figures
        )
        assert one == pytest.approx(other, abs=1e-6)
