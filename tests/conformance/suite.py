"""transformers' own common tests, imported from a folder that `scripts/conformance.sh` lays out.

The source archive of a release holds the mixins, but not what they import from neighbouring folders; where that is not
there, empty classes stand in for it, so that a whole checkout of the repository runs more tests than the archive.
"""

import base64
import importlib
import importlib.util
import io
import os
import sys
import types
from pathlib import Path

import pytest
from PIL import Image

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGE = "transformers_suite"  # the suite's folder `tests` under a name that is nobody's


def suite_folder() -> Path | None:
    """The folder of the mixins: in $HF_SUITE or where the script puts it; None: not there."""
    place = Path(os.environ.get("HF_SUITE", REPOSITORY / ".conformance"))
    return next((folder for folder in (place / "tests", place) if (folder / "test_modeling_common.py").is_file()), None)


def _stand_in(name: str, **contents: object) -> None:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        module = types.ModuleType(name)
        vars(module).update(contents)
        sys.modules[name] = module


def mixin(module: str, name: str) -> type:
    """A class of the suite; a test module that asks for it is skipped where the suite is not there."""
    folder = suite_folder()
    if folder is None:
        pytest.skip(
            "transformers' common tests are not here: run sh scripts/conformance.sh, or name their folder (HF_SUITE)",
            allow_module_level=True,
        )
    if PACKAGE not in sys.modules:
        start = folder / "__init__.py"
        spec = importlib.util.spec_from_file_location(PACKAGE, start, submodule_search_locations=[str(folder)])
        package = types.ModuleType(PACKAGE) if not start.is_file() else importlib.util.module_from_spec(spec)
        package.__path__ = [str(folder)]
        sys.modules[PACKAGE] = package
        if (folder.parent / "utils").is_dir():
            sys.path.append(str(folder.parent / "utils"))
        for parts, contents in (
            (("exporters", "test_export"), {"ExportTesterMixin": type("ExportTesterMixin", (), {})}),
            (("generation", "test_utils"), {"GenerationTesterMixin": type("GenerationTesterMixin", (), {})}),
        ):
            _stand_in(f"{PACKAGE}.{parts[0]}", __path__=[])
            _stand_in(f"{PACKAGE}.{parts[0]}.{parts[1]}", **contents)
        _stand_in("fetch_hub_objects_for_ci", url_to_local_path=local_picture)
    return getattr(importlib.import_module(f"{PACKAGE}.{module}"), name)


def local_picture(url: str) -> str:
    """A drawn picture instead of the file that would be fetched."""
    written = io.BytesIO()
    Image.linear_gradient("L").convert("RGB").resize((60, 40)).save(written, "PNG")
    return f"data:image/png;base64,{base64.b64encode(written.getvalue()).decode()}"
