"""What everybody's trainers do with a folder of ours: peft's adapters and prompts, TRL."""

import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoProcessor

import artquant.models
from artquant.models.mplug_owl2 import MPLUGOwl2LlamaForCausalLM

assert artquant.models  # importing it is all that the Auto classes need
pytestmark = pytest.mark.usefixtures("one_thread")
QUESTION = "Describe this painting."
PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8))


@pytest.fixture(scope="module")
def batch(processor):
    return processor(images=PICTURE, text=f"USER: <|image|>\n{QUESTION} ASSISTANT: Warm light.", return_tensors="pt")


class TestPeft:
    def train(self, network, batch):
        labels = batch["input_ids"].masked_fill(batch["input_ids"] < 0, -100)
        network.train()(**batch, labels=labels).loss.backward()
        return {name for name, value in network.named_parameters() if value.grad is not None and value.grad.any()}

    def test_every_linear_layer(self, network, batch):
        from peft import LoraConfig, get_peft_model

        adapted = get_peft_model(network, LoraConfig(target_modules="all-linear", init_lora_weights=False))
        moved = self.train(adapted, batch)
        assert all("lora_" in name for name in moved)
        for part in ("vision_model", "visual_abstractor", "v_proj.multiway.0", "v_proj.multiway.1", "down_proj"):
            assert any(part in name for name in moved), part

    def test_names_that_everybody_writes(self, network):
        from peft import LoraConfig, get_peft_model

        with pytest.raises(ValueError, match=r"name the one that is meant: NAME.multiway.0 for text, NAME.multiway.1"):
            get_peft_model(network, LoraConfig(target_modules=["q_proj", "v_proj"]))

    def test_prompt_tuning(self, network, batch):
        """The picture's place is found behind the learned vectors."""
        from peft import PromptTuningConfig, get_peft_model

        adapted = get_peft_model(network, PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3))
        assert self.train(adapted, batch) == {"prompt_encoder.default.embedding.weight"}
        with torch.no_grad():
            other = adapted.eval()(**{**batch, "pixel_values": -batch["pixel_values"]}).logits
            assert (adapted(**batch).logits - other).abs().max() > 1e-4

    def test_rows_of_the_token_table(self, network, batch):
        from peft import LoraConfig, get_peft_model

        token = int(batch["input_ids"][0, 1])
        rows = {"embed_tokens": [token]}
        adapted = get_peft_model(network, LoraConfig(target_modules=["q_proj"], trainable_token_indices=rows))
        assert any("trainable_tokens" in name for name in self.train(adapted, batch))

    def test_an_adapted_token_table_finds_pictures(self, tiny_base, batch):
        """By what it makes of a picture's id within the vocabulary."""
        from peft import LoraConfig, get_peft_model

        network = MPLUGOwl2LlamaForCausalLM.from_pretrained(tiny_base, image_token_id=5)
        adapted = get_peft_model(network, LoraConfig(target_modules=["embed_tokens"], init_lora_weights=False)).eval()
        inputs = {**batch, "input_ids": batch["input_ids"].masked_fill(batch["input_ids"] < 0, 5)}
        embeddings = adapted.get_input_embeddings()(inputs["input_ids"])
        with torch.no_grad():
            given = {name: value for name, value in inputs.items() if name != "input_ids"}
            assert torch.equal(adapted(inputs_embeds=embeddings, **given).logits, adapted(**inputs).logits)


def test_labels_copied_from_ids(network, batch):
    """As the library's own collators make them: pictures are not to be predicted."""
    plain = network(**batch, labels=batch["input_ids"].masked_fill(batch["input_ids"] < 0, -100)).loss
    assert torch.equal(network(**batch, labels=batch["input_ids"]).loss, plain)


def test_other_ids_below_zero_are_no_pictures(network, batch):
    with pytest.raises(IndexError):
        network(input_ids=torch.tensor([[1, -100, 300]]))


@pytest.fixture(scope="module")
def trl():
    found = pytest.importorskip("trl", reason="TRL is not installed (pip install -e .[dev])")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield found


class TestTRL:
    """Two steps of TRL's own trainers, on the classes and templates that lie in a folder."""

    def rows(self, *columns):
        from datasets import Dataset

        content = [{"type": "image"}, {"type": "text", "text": QUESTION}]
        row = {
            "images": [PICTURE],
            "prompt": [{"role": "user", "content": content}],
            "completion": [{"role": "assistant", "content": [{"type": "text", "text": "Warm light."}]}],
        }
        row["messages"] = row["prompt"] + row["completion"]
        return Dataset.from_list([{name: row[name] for name in columns}] * 4)

    SETTINGS = {"max_steps": 2, "per_device_train_batch_size": 2, "report_to": [], "use_cpu": True, "bf16": False}  # noqa: RUF012

    def train(self, trainer, before):
        trainer.train()
        after = trainer.model.state_dict()
        assert trainer.state.global_step == 2
        return {name for name, value in before.items() if not torch.equal(value, after[name])}

    @pytest.mark.parametrize("columns", [("images", "messages"), ("images", "prompt", "completion")], ids=str)
    def test_supervised(self, trl, network, processor, tmp_path, columns):
        options = {"assistant_only_loss": True} if "messages" in columns else {}
        arguments = trl.SFTConfig(str(tmp_path), max_length=None, **options, **self.SETTINGS)
        before = {name: value.clone() for name, value in network.state_dict().items()}
        trainer = trl.SFTTrainer(network, arguments, train_dataset=self.rows(*columns), processing_class=processor)
        moved = self.train(trainer, before)
        assert {"lm_head.weight", "model.visual_abstractor.vit_eos"} <= moved
        trainer.save_model(str(tmp_path / "saved"))
        assert AutoProcessor.from_pretrained(tmp_path / "saved").image_sequence_length == 4

    def test_reinforced(self, trl, network, processor, tmp_path):
        from datasets import Dataset

        rows = Dataset.from_list([{"image": PICTURE, "prompt": [{"role": "user", "content": QUESTION}]}] * 4)
        arguments = trl.GRPOConfig(
            str(tmp_path), num_generations=2, max_completion_length=6, beta=0.1, learning_rate=1e-3, **self.SETTINGS
        )
        before = {name: value.clone() for name, value in network.state_dict().items()}
        rewards = iter(range(100))
        trainer = trl.GRPOTrainer(
            network,
            lambda completions, **_: [float(next(rewards)) for _ in completions],
            arguments,
            train_dataset=rows,
            processing_class=processor,
        )
        assert "lm_head.weight" in self.train(trainer, before)
