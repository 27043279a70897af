"""Generation in every form: the picture's id outside and inside the vocabulary, one abstractor and three.

After transformers' own generation tests, which the source archive of a release does not hold.
"""

import pytest
import torch
from golden import small_network
from torch.nn.functional import pad

pytestmark = pytest.mark.usefixtures("one_thread")
FORMS = {"outside": {}, "inside": {"image_token_index": 39}, "three": {"multi_scale": True}}
FOUR = {"max_new_tokens": 4, "min_new_tokens": 4, "do_sample": False}


@pytest.fixture(params=FORMS)
def network(request):
    return small_network(**FORMS[request.param])


@pytest.fixture
def batch(network):
    picture = [network.config.image_token_id] * network.config.image_sequence_length
    ids = torch.tensor([[1, 5, *picture, 11, 12, 13], [1, 6, *picture, 11, 14, 13]])
    pixels = torch.randn(2, 3, 28, 28, generator=torch.Generator().manual_seed(0))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "pixel_values": pixels}


@pytest.mark.parametrize(
    "settings",
    [{}, {"num_beams": 2}, {"do_sample": True, "top_k": 5}, {"num_beams": 2, "cache_implementation": "static"}],
    ids=str,
)
def test_with_processors_that_look_at_the_prompt(network, batch, settings):
    processors = {"repetition_penalty": 1.2, "bad_words_ids": [[1, 0], [network.config.image_token_id]]}
    settings = FOUR | processors | settings | {"remove_invalid_values": True}
    generated = network.generate(**batch, **settings)
    new = generated[:, batch["input_ids"].shape[1] :]
    assert new.shape == (2, 4) and not (new == network.config.image_token_id).any()


def test_all_that_can_be_returned(network, batch):
    network.set_attn_implementation("eager")
    wanted = {"output_attentions": True, "output_hidden_states": True, "output_scores": True}
    made = network.generate(**batch, **FOUR, **wanted, return_dict_in_generate=True)
    length = batch["input_ids"].shape[1]
    assert len(made.scores) == len(made.attentions) == len(made.hidden_states) == 4
    assert made.attentions[1][0].shape == (2, 4, 1, length + 1) and made.hidden_states[0][0].shape == (2, length, 16)


@pytest.mark.parametrize("how", [{"prompt_lookup_num_tokens": 2}, "assistant"], ids=str)
def test_drafts(network, batch, how):
    one = {name: value[:1] for name, value in batch.items()}
    how = {"assistant_model": network} if how == "assistant" else how
    assert torch.equal(network.generate(**one, **FOUR, **how), network.generate(**one, **FOUR))


@pytest.mark.parametrize("beams", [1, 2])
def test_embeddings(network, batch, beams):
    settings = FOUR | {"num_beams": beams}
    ids, rest = batch["input_ids"], {name: batch[name] for name in ("attention_mask", "pixel_values")}
    expected = network.generate(input_ids=ids, **rest, **settings)
    embeddings = network.get_input_embeddings()(ids)
    assert torch.equal(network.generate(input_ids=ids, inputs_embeds=embeddings, **rest, **settings), expected)
    assert torch.equal(network.generate(inputs_embeds=embeddings, **rest, **settings), expected[:, ids.shape[1] :])
    other = network.generate(input_ids=ids, inputs_embeds=torch.rand_like(embeddings), **rest, **settings)
    assert other.shape == expected.shape


def test_going_on(network, batch):
    """From ids and from embeddings, with the pictures given again."""
    settings = {"do_sample": False, "eos_token_id": -1, "pad_token_id": 0, "return_dict_in_generate": True}
    whole = network.generate(**batch, **settings, max_new_tokens=4)
    begun = network.generate(**batch, **settings, max_new_tokens=3)
    mask = pad(batch["attention_mask"], (0, 3), value=1)
    rest = {"attention_mask": mask, "pixel_values": batch["pixel_values"], "past_key_values": begun.past_key_values}
    ended = network.generate(input_ids=begun.sequences, **rest, **settings, max_new_tokens=1)
    assert torch.equal(ended.sequences, whole.sequences)
    begun = network.generate(**batch, **settings, max_new_tokens=3)
    rest["past_key_values"] = begun.past_key_values
    embeddings = network.get_input_embeddings()(begun.sequences)
    ended = network.generate(inputs_embeds=embeddings, **rest, **settings, max_new_tokens=1)
    assert torch.equal(ended.sequences[:, -1], whole.sequences[:, -1])


@pytest.mark.parametrize("network", ["outside"], indirect=True)
def test_compiled_in_one_piece(network, batch):
    settings = FOUR | {"cache_implementation": "static"}
    expected = network.generate(**batch, **settings)
    network.forward = torch.compile(network.forward, fullgraph=True, backend="eager")
    assert torch.equal(network.generate(**batch, **settings), expected)
