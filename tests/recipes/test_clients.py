"""What everybody's tools do with a folder of ours: pipelines, chat templates, streaming, generation, devices."""

import subprocess
import sys
import tempfile

import numpy as np
import pytest
import torch
import transformers
from accelerate.utils import send_to_device
from golden import WEIGHTS, WORDS
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor, DynamicCache, TextIteratorStreamer, TextStreamer

import artquant.models
from artquant.errors import ArtQuantError
from artquant.models.mplug_owl2 import IMAGE_TOKEN_ID, MPLUGOwl2Processor
from artquant.models.mplug_owl2.decoder import ModalitySplit
from artquant.models.mplug_owl2.processing import chat_template
from artquant.texts.prompt import PROMPTS

assert artquant.models  # importing it is all that the Auto classes need
pytestmark = pytest.mark.usefixtures("one_thread")
QUESTION = "Describe this painting."
PROMPT = f"USER: <|image|>\n{QUESTION} ASSISTANT:"
PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8))
ASKED = [
    {"role": "user", "content": [{"type": "image", "image": PICTURE}, {"type": "text", "text": QUESTION}]},
]
FIVE = {"max_new_tokens": 5, "min_new_tokens": 5, "do_sample": False}


@pytest.fixture(scope="module")
def batch(processor):
    return processor(images=PICTURE, text=PROMPT, return_tensors="pt")


class TestPipeline:
    """`pipeline("image-text-to-text")` in its forms says what generating by hand says."""

    @pytest.fixture
    def expected(self, network, processor, batch):
        generated = network.generate(**batch, **FIVE)[0, batch["input_ids"].shape[1] :]
        return processor.decode(generated, skip_special_tokens=True)

    @pytest.fixture
    def pipe(self, network, processor):
        return transformers.pipeline("image-text-to-text", model=network, processor=processor)

    def test_text(self, pipe, expected):
        [said] = pipe(images=PICTURE, text=PROMPT, generate_kwargs=FIVE, return_full_text=False)
        assert said["generated_text"] == expected
        [said] = pipe(images=PICTURE, text=PROMPT, generate_kwargs=FIVE)
        assert said["generated_text"] == PROMPT + expected

    def test_chat_by_folder(self, tiny_base, expected):
        pipe = transformers.pipeline("image-text-to-text", model=str(tiny_base))
        [said] = pipe(text=ASKED, generate_kwargs=FIVE, return_full_text=False)
        assert said["generated_text"] == expected
        [said] = pipe(text=ASKED, generate_kwargs=FIVE)
        assert said["generated_text"][-1] == {"role": "assistant", "content": expected}

    def test_batches(self, pipe, expected):
        longer = PROMPT.replace("this", "this quiet")
        texts = pipe(images=[PICTURE] * 2, text=[PROMPT, longer], batch_size=2, generate_kwargs=FIVE)
        chats = pipe(text=[ASKED, ASKED], batch_size=2, generate_kwargs=FIVE, return_full_text=False)
        assert texts[0]["generated_text"] == PROMPT + expected
        assert [said[0]["generated_text"] for said in chats] == [expected, expected]


class TestProcessor:
    def test_pads_only_when_asked(self, processor):
        texts = [PROMPT, "USER: Hello ASSISTANT:"]
        rows = processor(images=[[PICTURE], []], text=texts)
        assert [len(row) for row in rows["input_ids"]] == [len(mask) for mask in rows["attention_mask"]]
        assert len(rows["input_ids"][0]) > len(rows["input_ids"][1])
        padded = processor(images=[[PICTURE], []], text=texts, padding="max_length", max_length=40, return_tensors="pt")
        assert padded["input_ids"].shape == (2, 40) and padded["attention_mask"].sum() < 80
        assert rows["input_ids"][0].count(IMAGE_TOKEN_ID) == processor.image_sequence_length

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ({}, "at least one input"),
            ({"text": PROMPT}, "no images were passed"),
            ({"text": "Hello", "images": PICTURE}, "number of images"),
            (
                {"text": PROMPT, "images": PICTURE, "truncation": True, "max_length": 5},
                "Mismatch in `image` token count",
            ),
        ],
    )
    def test_refuses(self, processor, given, message):
        with pytest.raises(ValueError, match=message):
            processor(**given)

    def test_added_token(self, tiny_base, tmp_path):
        """A client's own token is one token, keeps the blanks around it, and comes back from a folder."""
        processor = AutoProcessor.from_pretrained(tiny_base)
        processor.tokenizer.add_tokens(["<new>"])
        processor.save_pretrained(tmp_path)
        for one in (processor, AutoProcessor.from_pretrained(tmp_path)):
            ids = one(text="a <new> b")["input_ids"][0]
            assert ids.count(len(one.tokenizer) - 1) == 1 and one.decode(ids, skip_special_tokens=True) == "a <new> b"

    def test_saved_alone(self, processor, tmp_path):
        """Positions and chat template come back without the network's files; a folder that does not say is refused."""
        changed = MPLUGOwl2Processor(
            processor.image_processor, processor.tokenizer, 9, "Say: {{ messages[0].content }}"
        )
        changed.save_pretrained(tmp_path)
        again = MPLUGOwl2Processor.from_pretrained(tmp_path)
        assert again.image_sequence_length == 9 and again.chat_template == changed.chat_template
        assert again.apply_chat_template([{"role": "user", "content": "hi"}]) == "Say: hi"
        (tmp_path / "processor_config.json").unlink()
        with pytest.raises(ArtQuantError, match="says how many positions a picture takes"):
            MPLUGOwl2Processor.from_pretrained(tmp_path)

    def test_auto_classes_by_themselves(self, tiny_base, processor):
        tokenizer = transformers.AutoTokenizer.from_pretrained(tiny_base)
        pixels = transformers.AutoImageProcessor.from_pretrained(tiny_base)(PICTURE, return_tensors="pt")
        assert tokenizer(PROMPT)["input_ids"] == processor.tokenizer(PROMPT)["input_ids"]
        assert torch.equal(pixels["pixel_values"], processor(images=PICTURE, return_tensors="pt")["pixel_values"])


class TestChatTemplate:
    @pytest.mark.parametrize("name", PROMPTS)
    def test_is_the_prompt_of_this_house(self, processor, name):
        """One form, two writers: with the folder's system message, pictures on either side, complete or open."""
        prompt = PROMPTS[name]
        content = [{"type": "image"}, {"type": "text", "text": QUESTION}]
        asked = [{"role": "user", "content": content if prompt.image_first else content[::-1]}]
        answered = [*asked, {"role": "assistant", "content": "Warm light."}]
        written = {"chat_template": chat_template(prompt.system)}
        house = processor.conversation
        assert house(prompt.exchange(QUESTION)) == processor.apply_chat_template(
            asked, **written, add_generation_prompt=True
        )
        assert house(prompt.exchange(QUESTION, "Warm light.")) == processor.apply_chat_template(
            answered, **written, continue_final_message=True
        )
        whole = prompt.exchange(QUESTION, "Warm light.", complete=True)
        assert house(whole) == processor.apply_chat_template(answered, **written)
        assert (
            processor.expand(processor.tokenize(house(whole)))
            == processor(images=PICTURE, text=processor.apply_chat_template(answered, **written))["input_ids"][0]
        )

    def test_system_messages_of_any_kind(self, processor):
        system = 'Say "IMAGE" or {{ SYSTEM }}\\n 😀 {% if x %}'
        assert processor.apply_chat_template(ASKED, chat_template=chat_template(system)) == f"{system} {PROMPT[:-11]}"

    def test_several_turns(self, processor):
        turns = [{"role": "system", "content": "Be brief."}]
        turns += [*ASKED, {"role": "assistant", "content": "Warm."}, {"role": "user", "content": "And its mood?"}]
        text = processor.apply_chat_template(turns, add_generation_prompt=True)
        assert text == f"Be brief. {PROMPT} Warm.</s>USER: And its mood? ASSISTANT:"
        with pytest.raises(Exception, match="turns of user and assistant"):
            processor.apply_chat_template([{"role": "tool", "content": "7"}])

    def test_masks_of_answers(self, processor):
        """Exactly the answers' tokens and their ends, behind pictures, whichever side is padded."""
        turns = [
            *ASKED,
            {"role": "assistant", "content": "Café, 油画."},
            *ASKED,
            {"role": "assistant", "content": "Calm"},
        ]
        for side in ("left", "right"):
            made = processor.apply_chat_template(
                [turns, turns[:2]],
                tokenize=True,
                return_dict=True,
                return_tensors="pt",
                return_assistant_tokens_mask=True,
                processor_kwargs={"padding": True, "padding_side": side},
            )
            masks = made["assistant_masks"].bool()
            said = [processor.decode(ids[mask]) for ids, mask in zip(made["input_ids"], masks, strict=True)]
            assert said == ["Café, 油画.</s> Calm</s>", "Café, 油画.</s>"]

    def test_lies_in_saved_folders(self, tiny_base, tmp_path):
        """A run's folder holds its own prompt as a template."""
        from artquant.config.schema import Loading
        from artquant.models.model_card import Card
        from artquant.models.model_folder import ModelFolder
        from artquant.models.weights import load_network, save_model
        from artquant.readouts.rating_levels import RatingLevels

        loaded = load_network(ModelFolder.open(tiny_base), Loading())
        prompt = PROMPTS["published-train"]
        save_model(
            tmp_path,
            loaded.model,
            loaded.processor,
            loaded.family,
            Card(prompt, RatingLevels(WORDS, WEIGHTS).bound(loaded.processor, prompt)),
        )
        again = AutoProcessor.from_pretrained(tmp_path)
        assert again.apply_chat_template(ASKED).startswith(prompt.system)
        assert again.tokenizer.chat_template == again.chat_template


class TestGeneration:
    def test_streaming(self, network, processor, batch, capsys):
        generated = network.generate(**batch, **FIVE, streamer=TextStreamer(processor, skip_prompt=True))
        answer = processor.decode(generated[0, batch["input_ids"].shape[1] :])
        assert capsys.readouterr().out.strip() == answer.strip()
        streamer = TextIteratorStreamer(processor.tokenizer)
        network.generate(**batch, **FIVE, streamer=streamer)
        assert "".join(streamer).endswith(answer.strip())

    @pytest.mark.parametrize(
        "settings",
        [{"use_cache": False}, {"cache_implementation": "static"}, {"prompt_lookup_num_tokens": 3}],
        ids=str,
    )
    def test_settings_that_change_nothing(self, network, batch, settings):
        assert torch.equal(network.generate(**batch, **FIVE, **settings), network.generate(**batch, **FIVE))

    def test_stop_strings(self, network, processor, batch):
        """Behind the first character that was generated, though the prompt's ids are in no table."""
        length = batch["input_ids"].shape[1]
        text = processor.decode(network.generate(**batch, **FIVE)[0, length:])
        stop = {"stop_strings": [text[0]], "tokenizer": processor.tokenizer}
        stopped = network.generate(**batch, max_new_tokens=5, do_sample=False, **stop)
        assert stopped.shape[1] == length + 1

    def test_with_an_assistant(self, network, tiny_base, batch):
        """Of the same weights or of others, which sees the picture too."""
        other = AutoModelForImageTextToText.from_pretrained(tiny_base).eval()
        with torch.no_grad():
            other.lm_head.weight.add_(torch.randn_like(other.lm_head.weight))
        for assistant in (network, other):
            assert torch.equal(
                network.generate(**batch, **FIVE, assistant_model=assistant), network.generate(**batch, **FIVE)
            )

    @pytest.mark.parametrize(
        "settings",
        [
            {"repetition_penalty": 5.0},
            {"encoder_repetition_penalty": 5.0},
            {"no_repeat_ngram_size": 1},
            {"encoder_no_repeat_ngram_size": 1},
            {"guidance_scale": 3.0},
            {"bad_words_ids": [[555], [IMAGE_TOKEN_ID]]},
            {"sequence_bias": [[[555], -9.0]]},
        ],
        ids=str,
    )
    def test_penalties(self, network, processor, batch, settings):
        """Are applied, though they look up the prompt's ids in tables of the vocabulary."""
        generated = network.generate(**batch, **FIVE, **settings, output_scores=True, return_dict_in_generate=True)
        plain = network.generate(**batch, **FIVE, output_scores=True, return_dict_in_generate=True)
        assert generated.sequences.shape == plain.sequences.shape
        assert not torch.equal(generated.scores[0], plain.scores[0])

    def test_embeddings_instead_of_ids(self, network, processor, batch):
        """With pictures, padded on the right too, and for several beams."""
        length = batch["input_ids"].shape[1]
        embeddings = network.get_input_embeddings()(batch["input_ids"])
        expected = network.generate(**batch, **FIVE, num_beams=2)[:, length:]
        given = {"pixel_values": batch["pixel_values"], "num_beams": 2}
        assert torch.equal(network.generate(inputs_embeds=embeddings, **given, **FIVE), expected)
        padded = torch.nn.functional.pad(embeddings, (0, 0, 0, 3))
        mask = torch.nn.functional.pad(batch["attention_mask"], (0, 3))
        assert torch.equal(network.generate(inputs_embeds=padded, attention_mask=mask, **given, **FIVE), expected)
        ids = {"input_ids": batch["input_ids"], "pixel_values": batch["pixel_values"]}
        assert torch.equal(network.generate(**ids, inputs_embeds=embeddings, **FIVE), network.generate(**batch, **FIVE))
        random = network.generate(**ids, inputs_embeds=torch.rand_like(embeddings), **FIVE)  # the ids say where it is
        assert not torch.equal(random, network.generate(**batch, **FIVE))
        with pytest.raises(ValueError, match="hold 0 image positions, but 1 pictures need 4"):
            network.generate(inputs_embeds=torch.rand_like(embeddings), pixel_values=batch["pixel_values"], **FIVE)

    @pytest.mark.parametrize("given", ["all pictures", "the new ones"])
    def test_conversations_that_go_on(self, network, given):
        """Second pictures beside a cache that holds the first, for rows of one and of two pictures, padded anywhere."""
        image, draw = [IMAGE_TOKEN_ID] * 4, torch.Generator().manual_seed(0)
        pixels = 3 * torch.randn(5, 3, 28, 28, generator=draw)
        first = torch.tensor([[1, *image, 300, 301, 302, 303, 304, 305], [1, *image, 306, *image, 307]])
        second = torch.tensor([[310, *image, 311], [312, *image, 313]])
        mask = torch.tensor([[1] * 10 + [0], [1] * 11])
        cache = DynamicCache(config=network.config)
        network(input_ids=first, attention_mask=mask, pixel_values=pixels[[0, 2, 3]], past_key_values=cache)
        whole = {
            "input_ids": torch.cat([first, second], 1),
            "attention_mask": torch.nn.functional.pad(mask, (0, 6), value=1),
        }
        new = pixels if given == "all pictures" else pixels[[1, 4]]
        going_on = network.generate(**whole, pixel_values=new, past_key_values=cache, **FIVE)
        assert torch.equal(going_on[:, -5:], network.generate(**whole, pixel_values=pixels, **FIVE)[:, -5:])

    def test_right_padding_with_all_that_belongs_to_positions(self, network, processor):
        texts = [PROMPT, PROMPT.replace("this", "this quiet")]
        made = {"images": [PICTURE] * 2, "text": texts, "padding": True, "return_tensors": "pt"}
        left, right = (processor(**made, padding_side=side) for side in ("left", "right"))
        positions = (right["attention_mask"].cumsum(1) - 1).clamp(min=0)
        embeddings = {name: value for name, value in right.items() if name != "input_ids"}
        embeddings |= {"inputs_embeds": torch.rand(*right["input_ids"].shape, 16)}
        embeddings |= {"image_mask": right["input_ids"] == IMAGE_TOKEN_ID}
        expected = network.generate(**left, **FIVE)[:, -5:]
        assert torch.equal(network.generate(**right, **FIVE, position_ids=positions)[:, -5:], expected)
        assert network.generate(**embeddings, **FIVE, num_beams=2).shape == (2, 5)  # places are named, not found

    def test_a_draft_of_its_first_layers(self, network, batch):
        assert torch.equal(network.generate(**batch, **FIVE, assistant_early_exit=1), network.generate(**batch, **FIVE))

    def test_settings_by_position(self, network, batch):
        settings = transformers.GenerationConfig(**FIVE)
        rest = {name: value for name, value in batch.items() if name != "input_ids"}
        assert torch.equal(network.generate(batch["input_ids"], settings, **rest), network.generate(**batch, **FIVE))

    def test_too_many_pictures_for_beams(self, network, batch):
        with pytest.raises(ValueError, match="hold 4 image positions, but 2 pictures need 8"):
            network.generate(**{**batch, "pixel_values": batch["pixel_values"].repeat(2, 1, 1, 1)}, **FIVE, num_beams=2)

    def test_no_picture(self, network, batch):
        with pytest.raises(ValueError, match="no pixel_values"):
            network.generate(input_ids=batch["input_ids"], **FIVE)


class TestDevices:
    def test_places_of_pictures_go_along_to_another_device(self):
        """Between layers on several devices accelerate moves what layers are given."""
        split = ModalitySplit.from_mask(torch.tensor([[False, True, True]]), 2)
        assert send_to_device(split, "meta").image.device.type == "meta"

    @torch.no_grad()
    def test_compiled_in_one_piece(self, network, batch):
        compiled = torch.compile(network, fullgraph=True, backend="eager")
        assert torch.equal(compiled(**batch).logits, network(**batch).logits)

    @torch.no_grad()
    def test_exported(self, network, batch):
        program = torch.export.export(network, (), kwargs=dict(batch) | {"use_cache": False}, strict=False)
        torch.testing.assert_close(program.module()(**batch, use_cache=False).logits, network(**batch).logits)

    @torch.no_grad()
    def test_parts_on_the_disk(self, network, tiny_base, batch):
        places = {"lm_head": "cpu", "model": "cpu", "model.layers.1": "disk", "model.vision_model": "disk"}
        with tempfile.TemporaryDirectory() as folder:
            split = AutoModelForImageTextToText.from_pretrained(
                tiny_base, device_map=device_map(network, places), offload_folder=folder
            ).eval()
            assert torch.equal(split(**batch).logits, network(**batch).logits)

    def test_tensor_parallel(self, tiny_base, tmp_path):
        """Two ranks with half of every projection each say what one says."""
        script = tmp_path / "parallel.py"
        script.write_text(PARALLEL, encoding="utf-8")
        launched = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script)]
        done = subprocess.run([*launched, str(tiny_base)], capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr[-2000:]
        assert done.stdout.count("half, equal") == 2


def device_map(network, places):
    """Every module on the CPU but for those that are named."""
    found = {}
    for name, _ in [*network.named_parameters(), *network.named_buffers()]:
        fitting = [place for place in places if name.startswith(f"{place}.")]
        if max(fitting, key=len) == "model":
            fitting = [
                ".".join(name.split(".")[:3]) if name.startswith("model.layers") else ".".join(name.split(".")[:2])
            ]
            found[fitting[0]] = "cpu"
        else:
            found[max(fitting, key=len)] = places[max(fitting, key=len)]
    return found


PARALLEL = """
import sys

import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

import artquant.models

torch.set_num_threads(1)
folder = sys.argv[1]
picture = Image.linear_gradient("L").convert("RGB")
batch = AutoProcessor.from_pretrained(folder)(
    images=picture, text="USER: <|image|> Describe it. ASSISTANT:", return_tensors="pt"
)
whole = AutoModelForImageTextToText.from_pretrained(folder).eval()
split = AutoModelForImageTextToText.from_pretrained(folder, tp_plan="auto").eval()
with torch.no_grad():
    torch.testing.assert_close(split(**batch).logits, whole(**batch).logits, rtol=0, atol=2e-6)
layer = split.model.layers[0].self_attn
for half in (layer.q_proj, layer.k_proj.multiway[0], layer.v_proj.multiway[1], split.lm_head):
    assert 2 * half.weight.to_local().numel() == half.weight.numel()
greedy = {"max_new_tokens": 4, "do_sample": False}
assert torch.equal(split.generate(**batch, **greedy), whole.generate(**batch, **greedy))
print("half, equal")
"""
