"""The published clients' own requests, and pickles that are none."""

import base64
import builtins
import io
import os
import pickle
import shutil
import struct
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from serving import FACTS, picture, running, score_of

from artquant.reward import RewardClient, RewardError
from artquant.serve.pickles import read_pickle
from artquant.serve.refusals import Refused
from scripts.examples import filter_folder, train_painter

LIGHT, DARK, JPEG = picture(255), picture(0), picture(128, format="JPEG")
UNIT = 128 / 255


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


@pytest.fixture(scope="module")
def served():
    with pytest.MonkeyPatch.context() as patch, running(patch) as found:
        yield found


def test_flow_grpo_in_deqas_slot(served):
    body = pickle.dumps({"images": [JPEG] * 64})
    answer = served.request("POST", "/", body)
    assert answer.status == 200
    assert pickle.loads(answer.body) == {"outputs": [pytest.approx(score_of(128) / 10)] * 64}
    assert answer.headers["x-artquant-model"] == "stub"


def test_verl_omni(served):
    body = pickle.dumps({"images": [JPEG], "prompts": ["a cat"], "metadata": {"step": 1, "weight": 0.5, "of": None}})
    assert pickle.loads(served.request("POST", "/verl", body).body) == {"scores": [pytest.approx(UNIT)]}
    assert pickle.loads(served.request("POST", "/verl?unit=false", body).body)["scores"] == [
        pytest.approx(score_of(128))
    ]
    refused = served.request("POST", "/verl", pickle.dumps({"images": [b"no"], "prompts": [""], "metadata": {}}))
    assert refused.status == 422 and "picture 1" in pickle.loads(refused.body)["error"]


def test_unirl(served):
    names = served.request("GET", "/rewards").json()["rewards"]
    assert names == ["aesthetic", "Color"]

    def asked(data: str, required: list[str]) -> dict:
        history = [{"text": "a cat", "image_b64": None}, {"text": "", "image_b64": data}]
        return {"history": history, "required_rewards": required, "metadata": {"id": 1}}

    requests = [asked(b64(LIGHT), names), asked(b64(b"no"), names), asked(b64(DARK), []), asked(b64(DARK), ["beauty"])]
    answer = served.request("POST", "/score", {"requests": requests}).json()
    assert answer["results"] == [
        {"aesthetic": {"score": 1.0}, "Color": {"score": pytest.approx(4 / 9)}},
        {},
        {"aesthetic": {"score": 0.0}},
        {},
    ]
    assert [error is None for error in answer["errors"]] == [True, False, True, False]
    assert served.request("GET", "/health").status == 200


def test_flow_factory(served):
    body = {"prompt": ["a cat", "a dog"], "image": [b64(LIGHT), b64(DARK)]}
    assert served.request("POST", "/compute", body).json() == {"rewards": [1.0, 0.0]}
    assert served.request("POST", "/compute", {**body, "image": ["?", b64(DARK)]}).status == 422


def test_our_own_client(served):
    client = RewardClient(f"http://127.0.0.1:{served.port}", batch=2)
    pictures = [Image.new("RGB", (16, 16), (light,) * 3) for light in (255, 0, 128)]
    assert client(pictures, ["a"] * 3, {"step": 1}) == [1.0, 0.0, pytest.approx(UNIT)]
    with pytest.raises(RewardError):
        client([b"no picture"])


def test_roc4mllm(served):
    answer = served.upload("/api/roc4mllm", "file", ("a.png", JPEG))
    assert answer.json() == {"score": round(score_of(128), 4), "comment": "Light and shadow"}
    broken = served.upload("/api/roc4mllm", "file", ("a.png", b"no"))
    assert broken.status == 422 and list(broken.json()) == ["error"]


def test_chat(served):
    def asked(url: str, model: str = "UnifiedReward", **more: object) -> dict:
        parts = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "Rate it."}]
        return {"model": model, "messages": [{"role": "user", "content": parts}], "temperature": 0, **more}

    url = f"data:image/png;base64,{b64(LIGHT)}"
    found = served.request("POST", "/v1/chat/completions", asked(url)).json()
    assert found["object"] == "chat.completion" and found["choices"][0]["finish_reason"] == "stop"
    assert found["choices"][0]["message"] == {"role": "assistant", "content": "Final Score: 10.0000"}
    described = served.request("POST", "/v1/chat/completions", asked(url, "stub:describe")).json()
    assert described["choices"][0]["message"]["content"] == "Light and shadow\n\nFinal Score: 10.0000"
    streamed = served.request("POST", "/v1/chat/completions", asked(url, stream=True)).body.decode()
    assert "Final Score: 10.0000" in streamed and streamed.endswith("data: [DONE]\n\n")
    elsewhere = served.request("POST", "/v1/chat/completions", asked("http://127.0.0.1:1/a.png"))
    assert elsewhere.status == 400 and "no URL is fetched" in elsewhere.json()["error"]["message"]
    assert [one["id"] for one in served.request("GET", "/v1/models").json()["data"]] == ["stub", "stub:describe"]


class _Calls:
    """Pickles as a call."""

    def __init__(self, function: object, *arguments: object):
        self._call = function, arguments

    def __reduce__(self):
        return self._call


class _State:
    """Pickles as an instance with a state."""

    def __init__(self):
        self.value = 1


def hostile(marker: str) -> dict[str, bytes]:
    """Pickles that call something, or ask for more memory than they are large."""
    touch = f"touch {marker}"
    code = f"open({marker!r}, 'w')"
    calls = {
        "system": _Calls(os.system, touch),
        "popen": _Calls(os.popen, touch),
        "subprocess": _Calls(subprocess.call, ["touch", marker]),
        "run": _Calls(subprocess.run, ["touch", marker]),
        "eval": _Calls(builtins.eval, code),
        "exec": _Calls(builtins.exec, code),
        "open": _Calls(builtins.open, marker, "w"),
        "import": _Calls(builtins.__import__, "antigravity"),
        "copy": _Calls(shutil.copy, sys.executable, marker),
        "nested": _Calls(builtins.list, ["a"]),
    }
    found = {
        f"{name}-{protocol}": pickle.dumps({"images": [call]}, protocol)
        for name, call in calls.items()
        for protocol in (0, 2, 4)
    }
    return found | by_hand(touch.encode())


def by_hand(command: bytes) -> dict[str, bytes]:
    """What no pickler writes."""
    images = b"}X\x06\x00\x00\x00images"
    return {
        "inst": b"(S'" + command + b"'\nios\nsystem\n.",
        "obj": b"(cos\nsystem\nS'" + command + b"'\no.",
        "global": b"cos\nsystem\n(S'" + command + b"'\ntR.",
        "stack-global": b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c" + bytes([len(command)]) + command + b"\x85R.",
        "newobj": b"\x80\x02cbuiltins\nlist\n)\x81.",
        "newobj-ex": b"\x80\x04cbuiltins\nlist\n)}\x92.",
        "build": b"\x80\x02ccollections\nOrderedDict\n)R}b.",
        "ext": b"\x80\x02\x82\x01.",
        "persid": b"Pabc\n.",
        "binpersid": b"Nb0N\x51.",
        "next-buffer": b"\x80\x05\x97.",
        "popped": b"cos\nsystem\n0.",
        "tuple": b"}(K\x01K\x02\x86K\x03u.",
        "deep-tuple": b"}(" + b"N" + b"\x85" * 90_000 + b"Nu.",
        "set": pickle.dumps({"images": {1, 2}}, 4),
        "bytearray": pickle.dumps({"images": bytearray(8)}, 5),
        "complex": pickle.dumps({"images": 1j}),
        "state": pickle.dumps({"images": _State()}),
        "memo": images + b"r\xff\xff\xff\x7fN" + b"s.",
        "put": images + b"p2000000000\nNs.",
        "length": images + b"B\xff\xff\xff\x7fabcs.",
        "length-8": images + b"\x8e" + struct.pack("<Q", 1 << 60) + b"abcs.",
        "frame": b"\x80\x04\x95" + struct.pack("<Q", 1 << 61) + b"}.",
        "long": images + b"\x8b" + struct.pack("<i", 1 << 30) + b"\x01s.",
        "digits": images + b"I" + b"9" * 100_000 + b"\ns.",
        "deep": b"(" * 100 + b"}.",
        "many": images + b"](" + b"N" * 200_000 + b"es.",
        "unhashable": b"}]Ns.",
        "loop": b"}q\x00h\x00Ns.",
        "underflow": b"s.",
        "no-end": images,
        "trailing": pickle.dumps({"images": [LIGHT]}) + b"more",
        "two": pickle.dumps({"images": [LIGHT]}) * 2,
        "empty": b"",
        "text": b"images",
        "list": pickle.dumps([LIGHT]),
        "keys": pickle.dumps({1: [LIGHT]}),
        "no-images": pickle.dumps({"image": [LIGHT]}),
        "texts": pickle.dumps({"images": ["a.png"]}),
        "none": pickle.dumps({"images": []}),
        "one": pickle.dumps({"images": LIGHT}),
    }


@pytest.mark.parametrize("name", hostile(""))
def test_hostile_pickles_execute_nothing(served, name, tmp_path):
    marker = tmp_path / "executed"
    answer = served.request("POST", "/", hostile(str(marker))[name])
    assert answer.status == 400
    assert list(pickle.loads(answer.body)) == ["error"]
    assert not marker.exists()


def test_every_protocol_of_plain_values_is_read():
    values = {"images": [LIGHT, LIGHT], "prompts": ["ä", "x" * 300], "metadata": {"a": [1, -1.5, None, True, 1 << 40]}}
    for protocol in (3, 4, 5):
        assert read_pickle(pickle.dumps(values, protocol)) == values
    same = io.BytesIO()
    pickle._Pickler(same, 4).dump(values)  # as Python's own writes it
    assert read_pickle(same.getvalue()) == values


def test_a_class_is_refused_before_it_is_looked_for():
    with pytest.raises(Refused, match="those alone"):
        read_pickle(pickle.dumps({"images": FACTS}))


def test_examples_of_programs_that_ask(served, tmp_path, monkeypatch, capsys):
    for name, data in (("light.png", LIGHT), ("dark.png", DARK), ("cut.png", LIGHT[:50])):
        (tmp_path / name).write_bytes(data)
    url = f"http://127.0.0.1:{served.port}"
    monkeypatch.setattr(sys, "argv", ["filter_folder", url, str(tmp_path), "--above", "5"])
    filter_folder.main()
    kept, refused = capsys.readouterr()
    assert kept == f"10.000\t{tmp_path / 'light.png'}\n" and refused.startswith(f"{tmp_path / 'cut.png'}: ")

    learned = np.zeros(10)
    train_painter.step(learned, RewardClient(url, unit=False), np.array([3]), 4, np.random.default_rng(0))
    assert learned.any()
    command = ["train_painter", url, "--steps", "1", "--plans", "1", "--group", "2", "--out", str(tmp_path / "out.png")]
    monkeypatch.setattr(sys, "argv", command)
    train_painter.main()
    said = capsys.readouterr().out
    assert said.startswith("step 1: mean reward ") and "\nafter: " in said
    with Image.open(tmp_path / "out.png") as sheet:
        assert sheet.size == (1200, 480)
