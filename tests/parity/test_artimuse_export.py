"""InternVL networks in ArtiMuse's published form: file by file, and read back (in the shared folder only)."""

import json
from dataclasses import replace

import pytest
import torch
from cards import unlisted
from peft import LoraConfig, get_peft_model

from artquant.cli import main
from artquant.config.schema import Loading
from artquant.data.images import list_pictures, load_image
from artquant.infer.scorer import Scorer
from artquant.labels.rating_scale import RatingScale
from artquant.models.adapters import save_adapter
from artquant.models.internvl.naming import own_names, published_names, without_lora
from artquant.models.model_card import Card
from artquant.models.model_folder import ModelFolder
from artquant.models.weights import load_model, load_network, save_model
from artquant.models.whole import read_shards
from artquant.readouts import readout_of
from artquant.texts.prompt import get_prompt

pytestmark = pytest.mark.usefixtures("one_thread")

TENS = RatingScale.even(1.0, 10.0)
TOKENIZER = {"added_tokens.json", "merges.txt", "special_tokens_map.json", "tokenizer_config.json", "vocab.json"}
# Of what a configuration says for InternVL's own loader, or that changes nothing below 32,768 positions.
IDLE = {"dynamic_image_size", "use_thumbnail", "max_dynamic_patch", "rope_scaling", "use_cache", "eos_token_id"}


def read(file):
    return json.loads(file.read_text(encoding="utf-8"))


def export(source, out, *options, form="internvl_chat"):
    return main(["export", str(source), "--to", form, "--out", str(out), *options])


def same(first, second):
    return first.keys() == second.keys() and all(
        first[name].dtype == second[name].dtype and torch.equal(first[name], second[name]) for name in first
    )


def texts(values):
    """A token is written as its text or as a dictionary with it."""
    return {
        name: value["content"] if isinstance(value, dict) and "content" in value else value
        for name, value in values.items()
    }


@pytest.fixture(scope="module")
def golden(shared_folder):
    return shared_folder / "golden" / "artimuse"


@pytest.fixture(scope="module")
def published(golden):
    return golden / "artimuse-tiny"


@pytest.fixture(scope="module")
def exported(published, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported") / "model"
    assert export(published, folder, "--dtype", "bfloat16") == 0
    return folder


@pytest.fixture(scope="module")
def native(published, tmp_path_factory):
    folder = tmp_path_factory.mktemp("native") / "model"
    assert export(published, folder, form="native") == 0
    return folder


@pytest.fixture(scope="module")
def pictures(shared_folder):
    return [load_image(path) for path in list_pictures(shared_folder / "images")[:2]]


def logits(folder, pictures, **options):
    scores = Scorer.from_pretrained(folder, device="cpu", **options)(pictures)
    return torch.tensor([list(score.logits.values()) for score in scores])


def stored(folder, out, prompt, readout, system=None, change=None):
    """The network of a native folder as a run of ours leaves it; change: of its tensors."""
    network = load_network(ModelFolder.open(folder), Loading())
    if change is not None:
        with torch.no_grad():
            for parameter in network.model.parameters():
                parameter.copy_(change(parameter))
    prompt = prompt if system is None else replace(prompt, system=system)
    card = Card(prompt, readout.bound(network.processor, prompt))
    save_model(out, network.model, network.processor, network.family, card)
    return network.model


class TestPublishedFolder:
    def test_weights(self, published, exported):
        assert same(read_shards(published), read_shards(exported))
        assert {path.name for path in exported.iterdir()} == TOKENIZER | {"config.json", "model.safetensors"}

    def test_configuration(self, published, exported):
        theirs, ours = read(published / "config.json"), read(exported / "config.json")
        parts = [(theirs, ours), *((theirs[part], ours[part]) for part in ("vision_config", "llm_config"))]
        for their, our in parts:
            assert our.keys() <= their.keys()
            assert all(our[name] == their[name] for name in our.keys() - IDLE - {"vision_config", "llm_config"})
        assert ours["system_message"] is None and ours["torch_dtype"] == "bfloat16"

    def test_tokenizer(self, published, exported):
        for name in ("added_tokens.json", "vocab.json", "special_tokens_map.json"):
            assert texts(read(exported / name)) == texts(read(published / name))
        theirs, ours = (read(folder / "tokenizer_config.json") for folder in (published, exported))
        assert ours == {name: theirs[name] for name in theirs.keys() - {"add_bos_token", "add_eos_token"}}
        assert (exported / "merges.txt").read_bytes() == (published / "merges.txt").read_bytes()

    def test_scores(self, published, exported, native, pictures):
        found = logits(exported, pictures)
        assert torch.equal(found, logits(published, pictures)) and torch.equal(found, logits(native, pictures))

    def test_native_is_merged(self, published, native, tmp_path):
        assert export(published, tmp_path / "merged", form="merged") == 0
        assert same(read_shards(native), read_shards(tmp_path / "merged"))
        for name in ("config.json", "artquant.json", "tokenizer_config.json", "processor_config.json"):
            assert read(native / name) == read(tmp_path / "merged" / name)

    def test_lora_inside_is_merged(self, golden, tmp_path):
        lora = golden / "artimuse-tiny-lora"
        assert export(lora, tmp_path / "plain") == 0
        expected = {name: value.float() for name, value in without_lora(read_shards(lora)).items()}
        assert same(expected, read_shards(tmp_path / "plain"))
        config = read(tmp_path / "plain" / "config.json")
        assert (config["use_llm_lora"], config["use_backbone_lora"]) == (0, 0)


class TestOurModels:
    def test_trained(self, native, pictures, tmp_path, capsys):
        """Of another range and question, with a system text: the weights, the text and two notes."""
        prompt, readout = get_prompt("unipercept-iqa", "image"), readout_of({"kind": "value_tokens"}, TENS)
        model = stored(native, tmp_path / "ours", prompt, readout, "Look.", lambda values: values * 1.01 + 0.001)
        capsys.readouterr()
        assert export(tmp_path / "ours", tmp_path / "out") == 0
        said = capsys.readouterr().out.splitlines()
        assert said[-2] == "the published code says the same scores on 0 to 100; the model's own are on 1 to 10"
        assert said[-1] == "the folder does not say how it is asked: score it with --prompt unipercept-iqa"
        weights = read_shards(tmp_path / "out")
        assert same(own_names(weights), model.state_dict()) and same(weights, published_names(model.state_dict()))
        again = load_model(ModelFolder.open(tmp_path / "out"), Loading(), prompt="unipercept-iqa")
        assert again.prompt.system == "Look." and (again.readout.low, again.readout.high) == (0, 100)
        found = logits(tmp_path / "out", pictures, prompt="unipercept-iqa")
        assert torch.equal(found, logits(tmp_path / "ours", pictures))

    def test_tied_head(self, native, tmp_path):
        network = load_network(ModelFolder.open(native), Loading())
        network.model.config.tie_word_embeddings = True
        network.model.tie_weights()
        prompt = get_prompt("artimuse", "image")
        card = Card(
            prompt, readout_of({"kind": "value_tokens"}, RatingScale.even(0, 100)).bound(network.processor, prompt)
        )
        save_model(tmp_path / "ours", network.model, network.processor, network.family, card)
        assert export(tmp_path / "ours", tmp_path / "out") == 0
        found = load_network(ModelFolder.open(tmp_path / "out"), Loading()).model
        assert found.lm_head.weight is found.get_input_embeddings().weight
        assert same(found.state_dict(), network.model.state_dict())

    def test_lora_run_over_a_published_base(self, published, pictures, tmp_path):
        network = load_network(ModelFolder.open(published), Loading())
        parts = network.family.parts(network.model)
        targets = network.family.lora_targets(parts)
        adapted = get_peft_model(network.model, LoraConfig(r=2, target_modules=targets, init_lora_weights=False))
        run, prompt = tmp_path / "run", get_prompt("artimuse", "image")
        save_adapter(run, adapted, adapted.state_dict(), parts, ("vision",))
        network.processor.save_pretrained(run)
        readout = readout_of({"kind": "value_tokens"}, RatingScale.even(0, 100)).bound(network.processor, prompt)
        Card(prompt, readout, base=ModelFolder.open(published).as_base()).write(run)
        assert export(run, tmp_path / "out") == 0
        merged = adapted.merge_and_unload().state_dict()
        assert same(own_names(read_shards(tmp_path / "out")), merged)
        assert not same(
            own_names(read_shards(tmp_path / "out")),
            load_network(ModelFolder.open(published), Loading()).model.state_dict(),
        )
        assert torch.equal(logits(tmp_path / "out", pictures), logits(run, pictures))

    @pytest.mark.parametrize("kind", ["safetensors", "bin"])
    def test_shards(self, native, exported, tmp_path, monkeypatch, kind):
        monkeypatch.setattr("artquant.models.whole.SHARD", "200KB")
        assert export(native, tmp_path / "out", "--dtype", "bfloat16", "--format", kind) == 0
        assert len(list((tmp_path / "out").glob(f"*-of-*.{kind}"))) > 2
        assert same(read_shards(exported), read_shards(tmp_path / "out"))


class TestRefused:
    """In one line that names the folder; nothing is written."""

    @pytest.fixture
    def copy(self, native, tmp_path):
        folder = tmp_path / "copy"
        folder.mkdir()
        for file in native.iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
        return unlisted(folder)

    def refused(self, source, capsys):
        capsys.readouterr()
        out = source.parent / "out"
        assert export(source, out) == 2
        message = capsys.readouterr().err.splitlines()[-1]
        assert str(source) in message and not list(source.parent.glob("*out*"))
        return message

    @pytest.mark.parametrize(
        ("file", "change", "message"),
        [
            ("config.json", {"vision_feature_layer": -2}, "cannot say vision_feature_layer -2, only -1; export it as"),
            ("processor_config.json", {"max_patches": 12}, "prepares pictures otherwise: one square tile"),
            ("processor_config.json", {"resample": 2}, "prepares pictures otherwise"),
            ("processor_config.json", {"image_mean": [0.5, 0.5, 0.5]}, "prepares pictures otherwise"),
            ("tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast"}, "its tokenizer is a "),
        ],
    )
    def test_settings(self, copy, capsys, file, change, message):
        values = read(copy / file)
        changed = values.get("image_processor", values)
        assert not change.keys() - changed.keys()
        changed.update(change)
        (copy / file).write_text(json.dumps(values), encoding="utf-8")
        assert message in self.refused(copy, capsys)

    def test_another_chat_form(self, copy, capsys):
        template = copy / "chat_template.jinja"
        template.write_text(template.read_text().replace("<|im_end|>", "<|im_end|> "), encoding="utf-8")
        assert "in other tokens" in self.refused(copy, capsys)

    @pytest.mark.parametrize(
        ("prompt", "kind", "message"),
        [
            (
                ("artquant", "image"),
                "value_tokens",
                "always asks with 'artimuse' (image), 'unipercept-iaa' (image), ",
            ),
            (("artimuse", "painting"), "value_tokens", "prompt 'artimuse' about a painting, but code"),
            (
                ("artimuse", "image"),
                "rating_levels",
                "reads scores by rating_levels, which the published form internvl",
            ),
        ],
    )
    def test_prompts_and_readouts(self, copy, capsys, prompt, kind, message):
        card = read(copy / "artquant.json")
        card["prompt"] = get_prompt(*prompt).to_dict()
        if kind != card["readout"]["kind"]:
            readout = replace(readout_of({"kind": kind}, TENS), token_ids=tuple(range(5)))
            card["readout"] = readout.to_dict()
        unlisted(copy, **card)
        assert message in self.refused(copy, capsys)

    def test_no_system_text(self, copy, capsys):
        card = read(copy / "artquant.json")
        card["prompt"]["system"] = ""
        unlisted(copy, **card)
        assert "is asked without a system text, but internvl_chat always puts one" in self.refused(copy, capsys)
