"""The table of data sets in dataset/README.md: every command of it, on a head of the published file's form."""

import json
import re
import shlex
from pathlib import Path

import pytest

from artquant.cli import main

README = Path(__file__).resolve().parents[2] / "dataset" / "README.md"
APDD = (
    "filename,Artistic Categories,Score,Theme and logic,Creativity,Layout and composition,Space and perspective,"
    "The sense of order,Light and shadow,Color,Details and texture,The overall,Mood\n"
    "{},oil painting*classicism*landscapes,7.143,5,,4,4,5,4,3.5,4,4,\n"
)
LIST = json.dumps([{"image": "session144/iaa_pub10022_.jpg", "gt_score": 1}, {"image": "b.jpg", "gt_score": 1.0}])
AVA = "1 953619 0 1 5 17 38 36 15 6 5 1 1 22 1396\n2 953958 10 7 15 26 26 21 10 8 1 2 15 21 1396\n"
KONIQ = (
    "image_name,c1,c2,c3,c4,c5,c_total,MOS,SD,set\n"
    "10004473376.jpg,0.0,0.0,0.238095238095,0.695238095238,0.0666666666667,105,77.3836206897,0.527277894494,training\n"
    "10007357496.jpg,0.0,0.03125,0.46875,0.489583333333,0.0104166666667,96,68.7285714286,0.580003024795,test\n"
)
TANET = "image_id," + ",".join(f"score{n}" for n in range(2, 12)) + ",tag1\n687050,1,5,6,51,117,78,29,10,6,1,12\n"
EVA = (
    "image_id=user_id=score=difficulty=visual=composition=quality=semantic\n"
    "1=u1=6.0=2=4=1=2=3\n1=u2=8.0=2=4=2=2=3\n2=u1=5.0=2=1=1=2=3\n"
)
PARA = (
    "sessionId,imageName,userId,aestheticScore,qualityScore,colorScore,compositionScore\n"
    "session1,iaa_1.jpg,A1,3,3,4,4\nsession1,iaa_1.jpg,A2,4,3,5,4\n"
)
SPAQ = "Image name,MOS,Brightness,Contrast,Brightness\r\n00001.jpg,48.86,47.43,55.71,-1.21\r\n"
QALIGN = {
    "id": "a.jpg->3.91",
    "image": "koniq/a.jpg",
    "conversations": [
        {"from": "human", "value": "How would you rate the quality of this image?\n<|image|>"},
        {"from": "gpt", "value": "The quality of the image is good."},
    ],
}
# By the files that a command names: what they begin with, and the mean scores of the splits that come of it.
HEADS = {
    "dataset/APDD/annotations": (
        {f"dataset/APDD/annotations/{name}.csv": APDD.format(f"{name}.png") for name in ("train", "valid", "test")},
        (7.143, 7.143, 7.143),
    ),
    "APDD.csv": ({"APDD.csv": APDD.format("a.png")}, (7.143, None, None)),
    "train_set.csv val_set.csv test_set.csv": (
        {
            f"{name}_set.csv": f"image,score\n{name}.jpg,{score}\n"
            for name, score in zip(("train", "val", "test"), "123", strict=True)
        },
        (1, 2, 3),
    ),
    "AVA.txt test.json": (
        {"AVA.txt": AVA, "test.json": '[{"image": "953958.jpg", "gt_score": 4.4}]'},
        (5.637097, None, 4.698413),
    ),
    "test.csv": ({"test.csv": TANET}, (None, None, 5.371711)),
    "test.json": ({"test.json": LIST}, (None, None, 1)),
    "ISTA-10K.json": ({"ISTA-10K.json": LIST.replace("b.jpg", "session144/iaa_pub10022_.jpg")}, (None, None, 1)),
    "PARA-Images.csv": ({"PARA-Images.csv": PARA}, (3.5, None, None)),
    "votes_filtered.csv": ({"votes_filtered.csv": EVA}, (6, None, None)),
    "koniq10k_distributions_sets.csv": ({"koniq10k_distributions_sets.csv": KONIQ}, (3.828571, None, 3.479167)),
    "koniq10k_test.json": (
        {"koniq10k_test.json": '[{"image": "koniq/1814122396.jpg", "gt_score": 3.27027, "std": 0.571218}]'},
        (None, None, 3.27027),
    ),
    "meta_info_LIVEChallengeDataset.csv": (
        {"meta_info_LIVEChallengeDataset.csv": "img_name,mos,std\r\nt1.bmp,63.963406174124174,18.376200073180403\r\n"},
        (63.963406, None, None),
    ),
    "meta_info_TID2013Dataset.csv": (
        {"meta_info_TID2013Dataset.csv": "ref_name,dist_name,mos,std\r\nI01.BMP,I01_01_1.bmp,5.51429,0.13013\r\n"},
        (5.51429, None, None),
    ),
    "tid_labels_test.json": (
        {"tid_labels_test.json": '[{"image_id": "I01_01_1", "label": [0, 0, 0, 0, 0, 0.5, 0.5, 0, 0, 0]}]'},
        (None, None, 5.5),
    ),
    "meta_info_SPAQDataset.csv": ({"meta_info_SPAQDataset.csv": SPAQ}, (48.86, None, None)),
    "bid_all.txt": (
        {"bid_all.txt": "ImageDatabase/DatabaseImage0456.JPG\t3.180518\t1.166392\n"},
        (3.180518, None, None),
    ),
    "csiq.beta.xlsx": ({"csiq.beta.xlsx": None}, (0.75, None, None)),
    "agiqa3k_data.csv": (
        {"agiqa3k_data.csv": "name,prompt,mos_quality,std_quality\r\na_000.jpg,a man,0.965602553,0.2233\r\n"},
        (0.965603, None, None),
    ),
    "agi.json": (
        {"agi.json": '[{"img_path": "agi-cgi/AttnGAN_normal_000.jpg", "gt_score": "0.965602553"}]'},
        (None, None, 0.965603),
    ),
    "train.json": ({"train.json": json.dumps([QALIGN])}, (3.91, None, None)),
    "guru_validation.json": (
        {"guru_validation.json": '[{"image_url": "http://a.com/upload/full_1.jpg", "overall": "8.6", "title": "x"}]'},
        (8.6, None, None),
    ),
    "FILE.csv": ({"FILE.csv": "file,rating\na.jpg,6\n"}, (6, None, None)),
}


def workbook(path):
    """Two sheets that are shown, the table beside and under empty cells, as CSIQ's."""
    openpyxl = pytest.importorskip("openpyxl", reason="needs the extra: pip install 'artquant[tables]'")
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.title = "all_by_image"
    for column, values in enumerate(
        zip(
            ("image", "dst_idx", "dst_type", "dst_lev", "dmos_std", "dmos"),
            (1600, 1, "noise", 1, 0.06, 0.25),
            strict=True,
        )
    ):
        for row, value in enumerate(values):
            sheet.cell(4 + row, 4 + column, value)
    book.create_sheet("all_by_distortion").append(["dst_idx"])
    book.save(path)


TABLE = re.findall(
    r"^\| (.+?) \| `(artquant prepare .+?)` \| (.*?) \| (.+?) \|$", README.read_text("utf-8"), re.MULTILINE
)


def files_of(command):
    """The files that a command reads."""
    words = shlex.split(command)
    return " ".join(word for word in words if word in known)


known = {name for key in HEADS for name in key.split()}


def test_every_head_is_of_a_command():
    assert {files_of(command) for _, command, _, _ in TABLE} == set(HEADS)


@pytest.mark.parametrize(("command", "ends"), [row[1::2] for row in TABLE], ids=[row[0] for row in TABLE])
def test_command_of_the_table(tmp_path, monkeypatch, capsys, command, ends):
    files, means = HEADS[files_of(command)]
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        workbook(tmp_path / name) if text is None else (tmp_path / name).write_text(text, "utf-8", newline="")
    monkeypatch.chdir(tmp_path)
    words = shlex.split(command)[1:]
    assert main(["--quiet", *words]) == 0, capsys.readouterr().err
    card = json.loads((tmp_path / words[words.index("--out") + 1] / "dataset.json").read_text("utf-8"))
    said = tuple(card["splits"][split]["scores"]["mean"] for split in ("train", "validation", "test"))
    assert said == pytest.approx(means, abs=1e-6)
    if re.fullmatch(r"[\d.]+-[\d.]+", ends) and "apdd" not in words:
        assert [f"{end:g}" for end in card["scale"]["native"]] == ends.split("-")
