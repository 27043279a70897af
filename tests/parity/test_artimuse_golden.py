"""ArtiMuse's and UniPercept's published code and folders of them (in the shared folder only)."""

import json
import shutil
import zlib
from dataclasses import replace

import numpy as np
import pytest
import torch

from artquant.batches.dataset import ArtDataset, Collator
from artquant.batches.samples import encode_row
from artquant.cli import main
from artquant.config.schema import Loading, LossConfig
from artquant.data.images import load_image
from artquant.data.record_file import RecordFile
from artquant.infer.answers import generate
from artquant.infer.rewards import rewards
from artquant.infer.scorer import Scorer
from artquant.labels.rating_scale import RatingScale
from artquant.models.internvl.naming import own_names, published_names, without_lora
from artquant.models.model_folder import ModelFolder
from artquant.models.weights import load_model
from artquant.models.whole import read_shards
from artquant.readouts import readout_of
from artquant.texts.prompt import PROMPTS, get_prompt
from artquant.train.objective import Objective

TASKS = ("iaa", "iqa", "ista")
SCALE = RatingScale.even(0.0, 100.0)


@pytest.fixture(scope="module")
def folder(shared_folder):
    return shared_folder / "golden" / "artimuse"


@pytest.fixture(scope="module")
def arrays(folder):
    with np.load(folder / "expected.npz") as found:
        return dict(found)


@pytest.fixture(scope="module")
def expected(folder):
    return json.loads((folder / "expected.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def pictures(shared_folder, expected):
    folders = (shared_folder / "images", shared_folder / "golden" / "preprocessing")
    return [next(place / name for place in folders if (place / name).is_file()) for name in expected["pictures"]]


@pytest.fixture(scope="module")
def scorer(folder, one_thread):
    return Scorer.from_pretrained(folder / "artimuse-tiny", device="cpu")


@pytest.mark.parametrize("form", ["published", "internvl_chat", "native"])
def test_prompts(folder, scorer, tmp_path, form):
    """Texts and ids of every published question, behind both system texts; exported too."""
    if form != "published":
        assert main(["export", str(folder / "artimuse-tiny"), "--to", form, "--out", str(tmp_path / form)]) == 0
        scorer = Scorer.from_pretrained(tmp_path / form, device="cpu")
    prompts = json.loads((folder / "prompts.json").read_text(encoding="utf-8"))
    questions = {"artimuse_score": get_prompt("artimuse", "image")}
    questions |= {f"unipercept_score_{task}": get_prompt(f"unipercept-{task}", "image") for task in TASKS}
    asked = {name: (prompt, prompt.scoring().question) for name, prompt in questions.items()}
    plain = get_prompt("artimuse", "image")
    for name, said in prompts["prompts"].items():
        if name not in asked and "tiny_ids/None" in said:
            asked[name] = plain, said["user"].removeprefix("<img><IMG_CONTEXT></img>\n")
    assert len(asked) == 13
    picture = scorer.processor.processor.image_token_id
    for name, (prompt, question) in asked.items():
        for kind, system in prompts["system_texts"].items():
            ids = encode_row(scorer.processor, replace(prompt, system=system).exchange(question)).token_ids
            wanted = [token for token in prompts["prompts"][name][f"tiny_ids/{kind}"]]
            place = wanted.index(-1)  # the run of image tokens, between what opens and closes it
            assert list(ids) == [*wanted[: place - 1], picture, *wanted[place + 2 :]], (name, kind)


def test_pixels_and_features(scorer, arrays, pictures, expected):
    row = encode_row(scorer.processor, scorer.loaded.prompt.scoring())
    inputs = scorer.processor.inputs([row] * 12, [scorer.processor.picture(load_image(path)) for path in pictures])
    assert torch.equal(inputs["input_ids"], torch.from_numpy(arrays["score/input_ids"]).reshape(1, -1).expand(12, -1))
    down, across = expected["pixel_steps"]
    for index, name in enumerate(expected["pictures"]):
        pixels = inputs["pixel_values"][index]
        np.testing.assert_allclose(pixels[:, ::down, ::across], arrays[f"pixels/{name}"], rtol=0, atol=1e-6)
        found = [pixels.mean(), pixels.std(), pixels.min(), pixels.max()]
        np.testing.assert_allclose(found, arrays[f"pixels/{name}/stats"], rtol=0, atol=1e-5)
    network = scorer.network.plain
    with torch.no_grad():
        seen = network.model.vision_tower(inputs["pixel_values"][:2]).last_hidden_state
        features = network.model.get_image_features(inputs["pixel_values"]).pooler_output
    np.testing.assert_allclose(seen, arrays["vision_last_hidden_state"], rtol=0, atol=1e-4)
    np.testing.assert_allclose(features, arrays["image_features"], rtol=0, atol=1e-4)


@pytest.mark.parametrize("batch_size", [1, 5])
def test_scores(scorer, arrays, pictures, batch_size):
    found = scorer([load_image(path) for path in pictures], batch_size=batch_size)
    logits = [list(score.logits.values()) for score in found]
    np.testing.assert_allclose(logits, arrays["score/logits"], rtol=0, atol=1e-4)
    np.testing.assert_allclose([list(one.probs.values()) for one in found], arrays["score/probs"], rtol=0, atol=1e-5)
    np.testing.assert_allclose([one.score for one in found], arrays["score/score"], rtol=0, atol=1e-3)
    assert scorer.loaded.readout.token_ids == tuple(arrays["score_token_ids"])


@pytest.mark.parametrize(
    ("model", "options", "name"),
    [
        ("artimuse-tiny", (), "score/score"),
        ("artimuse-tiny-lora", (), "lora/score"),
        *(("artimuse-tiny", ("--task", task), f"unipercept/{task}/score") for task in TASKS),
    ],
)
def test_picture_files_to_scores(folder, arrays, pictures, capsys, model, options, name):
    """Through the command line; LoRA that was left in is merged."""
    command = ["score", *map(str, pictures), "--model", str(folder / model), "--json", "--dtype", "float32", *options]
    assert main(command) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    np.testing.assert_allclose([line["score"] for line in lines], arrays[name].ravel(), rtol=0, atol=1e-3)


def test_the_likeliest_words_are_shown(folder, pictures, capsys):
    assert main(["score", str(pictures[0]), "--model", str(folder / "artimuse-tiny")]) == 0
    scale, line = capsys.readouterr().out.splitlines()
    assert scale.startswith("score, 0 to 100, ")
    assert line.startswith("75.093 +- ") and line.count("  ") == 1 + 1 + 9


def test_system_text_follows_the_folder(folder, arrays, pictures, tmp_path):
    """Without the key it is the class's own sentence, with one it is that text."""
    copy = shutil.copytree(folder / "artimuse-tiny", tmp_path / "copy")
    config = json.loads((copy / "config.json").read_text())
    del config["system_message"]
    (copy / "config.json").chmod(0o644)
    (copy / "config.json").write_text(json.dumps(config))
    scorer = Scorer.from_pretrained(copy, device="cpu")
    found = [score.score for score in scorer([load_image(path) for path in pictures])]
    np.testing.assert_allclose(found, arrays["score_other_system/score"], rtol=0, atol=1e-3)
    (copy / "config.json").write_text(json.dumps(config | {"system_message": "Look."}))
    assert load_model(ModelFolder.open(copy), Loading()).prompt.system == "Look."


def test_attribute_texts(folder, scorer, arrays, pictures):
    """Eight questions about two pictures, greedy; alone and as one batch."""
    prompts = json.loads((folder / "prompts.json").read_text(encoding="utf-8"))
    prepared = [scorer.processor.picture(load_image(path)) for path in pictures[:2]]
    for number, name in enumerate(prompts["attributes"]):
        question = f"Please evaluate the aesthetic quality of this image from the aspect of {name}."
        row = encode_row(scorer.processor, scorer.loaded.prompt.exchange(question))
        inputs, ids = generate(scorer.loaded, scorer.device, [row] * 2, prepared, 20)
        assert inputs["input_ids"][0].tolist() == arrays[f"attribute_input_ids/{number}"].ravel().tolist()
        for found, wanted in zip(ids.tolist(), arrays["attribute_tokens"][:, number].tolist(), strict=True):
            wanted = [token for token in wanted if token != -1]
            assert found[: len(wanted)] == wanted, name
            assert set(found[len(wanted) :]) <= {scorer.processor.pad_token_id}, name  # the text has ended there


def test_rewards(folder, scorer, arrays, pictures, tmp_path):
    """Three scores of each picture, from files and opened ones; a broken one is none, with the reason."""
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(pictures[0].read_bytes()[:2000])
    given = [pictures[0], broken, load_image(pictures[1]), str(tmp_path / "gone.png")]
    found = rewards(scorer, given, batch_size=3)
    for place, index in ((0, 0), (2, 1)):
        wanted = {task: float(arrays[f"unipercept/{task}/score"].ravel()[index]) for task in TASKS}
        assert found[place].scores == pytest.approx(wanted, abs=1e-3) and found[place].error is None
    assert found[1].scores is None and str(broken) in found[1].error
    assert found[3].scores is None and "gone.png" in found[3].error
    assert list(rewards(scorer, pictures[:1], tasks=["iqa"])[0].scores) == ["iqa"]


class TestAnalyse:
    def test_pictures(self, folder, expected, pictures, tmp_path, capsys):
        """Scores and eight texts of each; in a file of the published form too."""
        options = ["--model", str(folder / "artimuse-tiny"), "--max-new-tokens", "20"]
        names = [str(path) for path in pictures[:2]]
        assert main(["analyse", *names, *options, "--json"]) == 0
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        for line, name in zip(lines, expected["pictures"], strict=False):
            assert line["score"] == pytest.approx(expected["score"][name], abs=1e-3)
            assert line["texts"] == expected["attribute_texts"][name]
        assert main(["analyse", *names, *options, "--published", str(tmp_path / "results")]) == 0
        written = tmp_path / "results" / "golden_gate_artimuse-tiny_eval.json"
        text = written.read_text(encoding="utf-8")
        published = (folder / "published_outputs" / "shipwreck_ArtiMuse_eval.json").read_text(encoding="utf-8")
        assert list(json.loads(text)) == list(json.loads(published)) == ["Aesthetic Score", "Aesthetic Attributes"]
        assert json.loads(text)["Aesthetic Attributes"] == lines[0]["texts"] and "\\u" not in text
        assert text.splitlines()[0] == "{" and text.splitlines()[1].startswith('  "Aesthetic Score"')

    def test_a_list_goes_on_where_it_stopped(self, folder, pictures, tmp_path, capsys):
        records = tmp_path / "records.json"
        rows = [{"id": path.stem, "image": str(path), "gt_score": 1.0} for path in pictures[:3]]
        records.write_text(json.dumps(rows[:2]), encoding="utf-8")
        options = ["--model", str(folder / "artimuse-tiny"), "--max-new-tokens", "3", "--workers", "0"]
        out = tmp_path / "out.jsonl"
        command = ["--quiet", "analyse", "--records", str(records), "--out", str(out), *options]
        assert main(command) == 0
        before = out.read_text(encoding="utf-8")
        records.write_text(json.dumps(rows), encoding="utf-8")
        assert main(command) == 0
        assert "1 pictures scored, 2 were there" in capsys.readouterr().out
        text = out.read_text(encoding="utf-8")
        assert text.startswith(before) and len(text.splitlines()) == 3
        assert all(len(json.loads(line)["texts"]) == 8 for line in text.splitlines())
        command[command.index("3")] = "4"
        assert main(command) == 2
        assert "made with other" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            (["a.png", "--task", "iqa"], "prompt 'unipercept-iqa' has no aspects to write about"),
            (["a.png", "--task", "iaa", "--prompt", "artimuse"], "leave out --prompt"),
            ([], "name pictures, or a list of them with --records and --out"),
            (["a.png", "--out", "x"], "--records and --out go together"),
            (["--records", "x", "--out", "y", "--published", "z"], "leave it out with --records"),
        ],
    )
    def test_wrong_use(self, folder, capsys, given, message):
        assert main(["analyse", *given, "--model", str(folder / "artimuse-tiny")]) == 2
        assert message in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("name", ["artimuse-tiny", "artimuse-tiny-lora"])
def test_names_there_and_back(folder, name):
    plain = without_lora(read_shards(folder / name))
    again = published_names(own_names(plain))
    assert len(plain) == 65 and len(own_names(plain)) == 73
    assert again.keys() == plain.keys() and all(torch.equal(again[key], plain[key]) for key in plain)


def test_names_of_the_published_size(shared_folder):
    """All 685 tensors; the fused ones become three."""
    listed = json.loads((shared_folder / "reference" / "state_dict_internvl3_8b.json").read_text())
    shapes = {name: torch.empty(entry["shape"], device="meta") for name, entry in listed.items()}
    found = own_names(shapes)
    for name, entry in listed.items():
        native = entry["native"] if isinstance(entry["native"], list) else [entry["native"]]
        assert set(native) <= found.keys(), name
    assert published_names(found).keys() == listed.keys()


@pytest.mark.parametrize("name", ["score", "text"])
def test_training(folder, scorer, arrays, expected, pictures, tmp_path, name):
    """Loss and gradients of conversations that training reads from records; a score is the cross-entropy of a word."""
    prompt = PROMPTS["artimuse"]
    readout = readout_of({"kind": "value_tokens"}, SCALE).bound(scorer.processor, prompt)
    chosen = {"score": pictures[:2], "text": pictures[2:3]}[name]
    question = prompt.scoring().question if name == "score" else None
    rows = []
    for path, answer in zip(chosen, expected["train_answers"][f"train_{name}"], strict=True):
        value = {"ea": 76.0, "ck": 36.0}.get(answer)
        human = question or "Please evaluate the aesthetic quality of this image from the aspect of Overall Gestalt."
        turns = [{"from": "human", "value": f"<|image|>{human}"}, {"from": "gpt", "value": answer}]
        task = {"task_type": "description"} if value is None else {"task_type": "score", "gt_score": value}
        rows.append({"id": path.name, "image": str(path), "conversations": turns} | task)
    file = tmp_path / "records.json"
    file.write_text(json.dumps(rows), encoding="utf-8")
    dataset = ArtDataset(RecordFile(file, tmp_path), scorer.processor, prompt, readout, SCALE.values, 2048)
    batch = Collator(scorer.processor, 2048)([dataset[index] for index in range(len(dataset))])
    width = batch.inputs["input_ids"].shape[1]
    assert torch.equal(batch.inputs["input_ids"], torch.from_numpy(arrays[f"train_{name}/input_ids"])[:, :width].long())
    # The published mean is over both learned tokens of an answer: its word and what ends the turn.
    objective = Objective(readout, LossConfig(score_text=0.5, score={"value": 0.5}))
    network = load_model(ModelFolder.open(folder / "artimuse-tiny"), Loading()).network
    sums, counts = objective.sums(network, batch), objective.counts([batch])
    loss = objective.total({term: value / counts[term] for term, value in sums.items() if counts[term]})
    assert loss.item() == pytest.approx(float(arrays[f"train_{name}/loss"]), rel=1e-5)
    loss.backward()
    gradients = {key: value.grad for key, value in network.plain.named_parameters()}
    published = published_names({key: torch.zeros(0) if value is None else value for key, value in gradients.items()})
    norms, projections = arrays[f"train_{name}/grad_norms"], arrays[f"train_{name}/grad_projections"]
    for key, norm, projection in zip(expected["grad_names"], norms, projections, strict=True):
        gradient = published[key].double().numpy()
        draw = np.random.default_rng([5, zlib.crc32(key.encode())]).standard_normal(gradient.shape)
        assert np.linalg.norm(gradient) == pytest.approx(float(norm), rel=1e-4, abs=1e-7), key
        assert (gradient * draw).sum() == pytest.approx(float(projection), abs=1e-3 * float(norm) + 1e-7), key


def test_trained_and_saved_in_transformers_own_form(folder, pictures, tmp_path, shared_folder):
    """A run from the published folder; its result is read by the generic family, with the same scores."""
    rows = [
        {"id": path.name, "image": str(path), "task_type": "score", "gt_score": 10.0 * number}
        | {"conversations": [{"from": "human", "value": "<|image|>Rate it."}, {"from": "gpt", "value": "x"}]}
        for number, path in enumerate(pictures[:4], start=2)
    ]
    records = tmp_path / "records.json"
    records.write_text(json.dumps(rows), encoding="utf-8")
    config = {
        "run": "run",
        "base": str(folder / "artimuse-tiny"),
        "output": str(tmp_path / "runs"),
        "prompt": "artimuse",
        "subject": "image",
        "levels": {"weights": [100, 75, 50, 25, 0]},
        "readout": {"kind": "value_tokens", "target": "two-level"},
        "stages": [
            {
                "name": "scores",
                "data": [{"records": str(records), "images": str(tmp_path)}],
                "trainable": {"lora": None, "vision": True, "projector": True, "decoder": True},
                "loss": {"score_text": 0.5, "score": {"value": 0.5}},
                "max_steps": 2,
                "batch_size": 2,
                "accumulation": 1,
                "max_length": 1024,
                "workers": 0,
            }
        ],
        "infer": {"records": str(records), "images": str(tmp_path), "workers": 0},
    }
    file = tmp_path / "run.yaml"
    file.write_text(json.dumps(config), encoding="utf-8")
    assert main(["train", "--config", str(file)]) == 0
    model = tmp_path / "runs" / "run" / "scores" / "model"
    assert json.loads((model / "config.json").read_text())["model_type"] == "internvl"
    scorer = Scorer.from_pretrained(model, device="cpu")
    before = Scorer.from_pretrained(folder / "artimuse-tiny", device="cpu", prompt="artimuse")
    row, other = (encode_row(one.processor, scorer.loaded.prompt.scoring()) for one in (scorer, before))
    assert row == other
    opened = [load_image(path) for path in pictures[:2]]
    found = scorer(opened)
    assert all(0 <= score.score <= 100 for score in found)
    assert main(["export", str(model), "--to", "internvl_chat", "--out", str(tmp_path / "published")]) == 0
    again = Scorer.from_pretrained(tmp_path / "published", device="cpu")(opened)
    assert [score.logits for score in again] == [score.logits for score in found]
