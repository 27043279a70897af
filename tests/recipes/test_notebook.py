"""preprocess/preprocess.ipynb: runs from start to end on any of its sources, and is committed without outputs."""

from pathlib import Path

import numpy as np
import pytest

from artquant.data.record_file import RecordFile
from artquant.labels.rating_scale import APDD_SCALE

nbclient = pytest.importorskip("nbclient", reason='needs the dev packages: pip install -e ".[dev]"')
nbformat = pytest.importorskip("nbformat")
pytest.importorskip("ipykernel")
pytest.importorskip("matplotlib")

NOTEBOOK = Path(__file__).resolve().parents[2] / "preprocess" / "preprocess.ipynb"
CSV = """filename,Artistic Categories,Score,Color
a.jpg,oil painting*Impressionism*caf\xe9,7.5,6.1
caf\xe9.jpg,oil painting*Realism*landscapes,1.071,
c.jpg,sketch*Realism*figures,9.286,8
d.jpg,sketch*Realism*figures,5,5
e.jpg,sketch*Realism*figures,6.333,5
"""


@pytest.fixture(scope="module")
def notebook():
    return nbformat.read(NOTEBOOK, as_version=4)


@pytest.fixture
def execute(notebook, tmp_path, monkeypatch):
    """Runs the notebook in a folder, with its temporary files there too; returns what its cells showed."""

    def run(folder: Path, **environment: Path | str) -> tuple[str, int]:
        settings = {"JUPYTER_RUNTIME_DIR": tmp_path / "jupyter", "IPYTHONDIR": tmp_path / "ipython"}
        for name in ("ARTQUANT_SCORES", "ARTQUANT_OUT"):
            monkeypatch.delenv(name, raising=False)
        for name, value in (settings | environment).items():
            monkeypatch.setenv(name, str(value))
        monkeypatch.setenv("OMP_NUM_THREADS", "1")
        executed = nbformat.from_dict(notebook)
        nbclient.NotebookClient(executed, timeout=120, resources={"metadata": {"path": str(folder)}}).execute()
        outputs = [output for cell in executed.cells for output in cell.get("outputs", [])]
        assert not any(output.get("name") == "stderr" for output in outputs)  # no warnings
        shown = "".join(output.text for output in outputs if output.output_type == "stream")
        return shown, sum("image/png" in output.get("data", {}) for output in outputs)

    return run


def assert_labels_meet_scores(records):
    probs = np.array([record.level_probs for record in records])
    scores = np.array([record.gt_score for record in records])
    np.testing.assert_allclose(probs @ np.array(APDD_SCALE.values), scores, rtol=0, atol=1e-9)


def test_demo_data_from_the_repository_root(execute, tmp_path):
    shown, figures = execute(tmp_path, ARTQUANT_SCORES="drawn")
    assert "demo data, drawn for this notebook\n48 scores" in shown and figures == 6
    records = RecordFile(tmp_path / "runs/preprocess/score.json", tmp_path, score_range=(1, 10))
    assert len(records) == 48 and len({record.question for record in records}) == 10
    assert_labels_meet_scores(records)


def test_apdd_from_its_own_folder(execute, tmp_path):
    source, folder = tmp_path / "dataset/APDD/annotations/train.csv", tmp_path / "preprocess"
    source.parent.mkdir(parents=True)
    source.write_bytes(CSV.encode("latin-1"))
    folder.mkdir()
    shown, _ = execute(folder, ARTQUANT_OUT="made.json")  # relative to the repository
    assert f"{source}\n5 scores, 1.071 to 9.286" in shown
    records = RecordFile(tmp_path / "made.json", tmp_path, score_range=(1, 10))
    assert [record.image.name for record in records] == ["a.jpg", "caf\xe9.jpg", "c.jpg", "d.jpg", "e.jpg"]
    assert [record.gt_score for record in records] == [7.5, 1.071, 9.286, 5, 6.333]
    assert records[0].answer == "The quality of the painting is good."
    assert_labels_meet_scores(records)


def test_score_file_that_is_not_there(execute, tmp_path):
    """Drawn scores stand in for nothing, whether a file was named or looked for."""
    with pytest.raises(nbclient.exceptions.CellExecutionError, match=r"absent\.csv: no such file"):
        execute(tmp_path, ARTQUANT_SCORES=tmp_path / "absent.csv")
    with pytest.raises(nbclient.exceptions.CellExecutionError, match=r"train\.csv nor .*score\.json: no such file"):
        execute(tmp_path)


def test_score_file_without_scores(execute, tmp_path):
    (tmp_path / "scores.csv").write_text("name,value\na.jpg,5\n")
    with pytest.raises(nbclient.exceptions.CellExecutionError, match=r"scores\.csv: no column 'image'"):
        execute(tmp_path, ARTQUANT_SCORES="scores.csv")


def test_committed_without_outputs(notebook):
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code and all(not cell.outputs and cell.execution_count is None for cell in code)
    identities = [cell.id for cell in notebook.cells]
    assert len(set(identities)) == len(identities)
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
