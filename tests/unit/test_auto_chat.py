"""The generic family's processor: published chat templates, templates that cannot be used, where it is loaded."""

import pickle

import pytest
import torch
from auto_models import FAMILY, PREFIX, QUESTION, WORDS, pictures, row, word_ids
from chat_forms import FORMS, SYSTEM
from PIL import Image
from tokenizers.processors import TemplateProcessing

from artquant.errors import ArtQuantError
from artquant.models.auto.processing import AutoChatProcessor
from artquant.models.auto.tiny_settings import TESTED
from artquant.texts.prompt import Exchange

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(params=FORMS)
def published(request, auto_model):
    """A processor with a published chat template and its special tokens, and what its texts should be."""
    form, made = FORMS[request.param], auto_model(request.param)
    inner = FAMILY.processor(made.folder, made.config).processor
    tokenizer, inner.chat_template = inner.tokenizer, form.template
    tokens = {*form.special, form.eos, form.end} | ({form.bos} if form.bos else set())
    tokenizer.add_tokens(sorted(tokens), special_tokens=True)
    tokenizer.bos_token, tokenizer.eos_token = form.bos, form.eos
    if form.begins:
        special = [(form.bos, tokenizer.bos_token_id)]
        tokenizer.backend_tokenizer.post_processor = TemplateProcessing(f"{form.bos} $A", None, special)
    return AutoChatProcessor(inner), form


def test_published_chat_forms(published):
    processor, form = published
    before = form.text.replace("P", processor.image_token).replace("Q", QUESTION)
    answer = f"{PREFIX} good."
    assert processor.conversation(Exchange(QUESTION, PREFIX)) == before + PREFIX
    assert processor.conversation(Exchange(QUESTION, answer, complete=True)) == before + answer + form.end
    assert processor.conversation(Exchange(QUESTION)).rstrip(" ") == before.rstrip(" ")
    after_system = form.with_system.replace("P", processor.image_token).replace("Q", QUESTION)
    assert processor.conversation(Exchange(QUESTION, PREFIX, system=SYSTEM)) == after_system + PREFIX


def test_published_chat_forms_as_tokens(published):
    processor, form = published
    tokenizer = processor.tokenizer
    opened, before = row(processor, "").token_ids, row(processor).token_ids
    ids = word_ids(processor)
    assert len(set(ids)) == len(WORDS)
    whole = row(processor, f"{PREFIX} good.", complete=True)
    assert whole.token_ids[: len(before)] == before and before[: len(opened)] == opened
    assert tokenizer.decode(whole.token_ids[len(opened) :]).strip() == f"{PREFIX} good.{form.end}"
    assert whole.token_ids[-1] == tokenizer.convert_tokens_to_ids(form.end)
    if form.bos:
        assert whole.token_ids.count(tokenizer.bos_token_id) == 1 and whole.token_ids[0] == tokenizer.bos_token_id
    inputs = processor.inputs([whole, row(processor)], pictures()[:2], "left")
    assert inputs["input_ids"][0, inputs.ends()[0] - len(whole.token_ids) + len(before)] == ids[1]
    if form.bos:
        assert inputs["input_ids"][0].tolist().count(tokenizer.bos_token_id) == 1


def test_the_picture_may_stand_behind_the_question(auto_model):
    processor = auto_model("internvl").processor
    text = processor.conversation(Exchange(QUESTION, PREFIX, picture_first=False))
    assert text.index(QUESTION) < text.index("<IMG_CONTEXT>")


@pytest.mark.parametrize(
    ("template", "exchange", "reason"),
    [
        ("{{ answer | upper }}", Exchange(QUESTION, PREFIX), "changes answers"),
        ("{{ picture }}{{ question }}{{ answer | replace('!', '') }}", Exchange(QUESTION, "Good!"), "cannot|changes"),
        ("{{ picture }}{{ question | upper }}{{ answer }}", Exchange(QUESTION, PREFIX), "changes"),
        ("{{ question }}{{ answer }}", Exchange(QUESTION, PREFIX), "0 <image> for one picture"),
        ("{{ picture }}{{ picture }}{{ question }}{{ answer }}", Exchange(QUESTION, PREFIX), "2 <image> for one"),
        (
            "{{ picture }}{{ question }}{{ answer }}",
            Exchange(QUESTION, PREFIX, picture_first=False),
            "a place of its own",
        ),
        ("{{ raise_exception('no system') }}", Exchange(QUESTION, PREFIX), "no system"),
        (None, Exchange(QUESTION, PREFIX), "no chat template"),
    ],
)
def test_templates_that_change_the_conversation_are_refused(auto_model, template, exchange, reason):
    inner = pickle.loads(pickle.dumps(auto_model("llava").processor)).processor
    inner.tokenizer.chat_template = None
    inner.chat_template = template and (
        "{% set picture = '<image>' %}{% set turn = messages | selectattr('role', 'equalto', 'user') | first %}"
        "{% set question = (turn.content | selectattr('type', 'equalto', 'text') | first).text %}"
        "{% set answer = messages[-1].content[0].text if messages[-1].role == 'assistant' else '' %}" + template
    )
    with pytest.raises(ArtQuantError, match=reason) as refused:
        AutoChatProcessor(inner).conversation(exchange)
    assert "\n" not in str(refused.value)


def test_a_processor_that_adds_to_the_text_is_refused(auto_model):
    from transformers import PaliGemmaProcessor, SiglipImageProcessorPil

    made = auto_model("llava")
    tokenizer = pickle.loads(pickle.dumps(made.processor.tokenizer))
    tokenizer.bos_token = "<|im_start|>"
    images = SiglipImageProcessorPil(size={"height": 32, "width": 32})
    images.image_seq_length = 4
    processor = AutoChatProcessor(PaliGemmaProcessor(images, tokenizer, chat_template=tokenizer.chat_template))
    with pytest.raises(ArtQuantError, match="PaliGemmaProcessor changes what stands behind the picture"):
        processor.inputs([row(processor)], pictures()[:1])


@pytest.fixture(params=TESTED)
def made(request, auto_model):
    return auto_model(request.param)


def test_a_processor_goes_to_other_processes(made):
    again = pickle.loads(pickle.dumps(made.processor))
    shown, rows = pictures()[:1], [row(made.processor)]
    inputs, expected = again.inputs(rows, shown), made.processor.inputs(rows, shown)
    assert all(torch.equal(inputs[name], expected[name]) for name in expected)
    assert made.processor.picture(shown[0]) is shown[0]


def test_positions_of_a_large_picture(made):
    inputs = made.processor.inputs([row(made.processor)], [Image.new("RGB", (1024, 1024), "red")])
    assert made.processor.picture_positions == inputs["input_ids"].shape[1] - len(row(made.processor).token_ids) + 1


@pytest.mark.parametrize("kind", ["llava", "gemma3", "idefics3", "ovis2"])
def test_folders_are_read_by_transformers_alone(auto_model, kind):
    from transformers import AutoProcessor

    processor, made = AutoProcessor.from_pretrained(auto_model(kind).folder), auto_model(kind)
    text = row(made.processor).text
    inputs = processor(text=[text], images=[[pictures()[0]]], return_tensors="pt")
    assert torch.equal(inputs["input_ids"], made.processor.inputs([row(made.processor)], pictures()[:1])["input_ids"])


@pytest.mark.parametrize("name", ["patch_size", "num_additional_image_tokens"])
def test_what_a_processor_file_lacks_is_said_in_one_line(auto_model, name):
    """LLaVA's files of earlier transformers have neither, and its processor then counts with None."""
    made = auto_model("llava")
    processor = FAMILY.processor(made.folder, made.config)
    setattr(processor.processor, name, None)
    with pytest.raises(ArtQuantError, match="LlavaProcessor cannot take pictures of 40x40 pixels: unsupported"):
        processor.inputs([row(made.processor)], pictures()[:1])
