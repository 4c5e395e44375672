"""What the core and the plugins have in common as distributions, read from the checkout."""

import re
import tomllib
from pathlib import Path

import pytest

import delve

ROOT = Path(__file__).parents[2]
PLUGINS = sorted(path.parent for path in ROOT.glob("delve_plugins/*/pyproject.toml"))


def project(folder):
    return tomllib.loads((folder / "pyproject.toml").read_text())["project"]


WRITERS = ["csv", "mlflow", "npy", "plot", "tensorboard", "wandb"]
TRAINERS = ["accelerate", "keras", "lightning", "transformers"]


def test_all_writers_and_trainers_are_there():
    assert [path.name for path in PLUGINS] == [
        f"delve-{name}" for name in sorted(WRITERS + TRAINERS)
    ]


@pytest.mark.parametrize("folder", PLUGINS, ids=lambda path: path.name)
def test_a_plugin_has_the_cores_version_and_needs_the_core(folder):
    package = folder / "src" / folder.name.replace("-", "_")
    version = re.search(r'__version__ = "(.+)"', (package / "__init__.py").read_text())[1]
    assert version == delve.__version__
    assert "delve>=1.0,<2" in project(folder)["dependencies"]
    assert project(folder)["requires-python"] == project(ROOT)["requires-python"]
    assert (package / "py.typed").exists()
    group = "delve.writers" if folder.name[6:] in WRITERS else "delve.trainers"
    assert {name: list(offers) for name, offers in project(folder)["entry-points"].items()} == {
        group: [folder.name[6:]]
    }
    assert (folder / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()
    assert project(folder)["license-files"] == ["LICENSE"]


def test_what_writes_the_version_knows_each_place():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["bumpversion"]
    assert settings["current_version"] == delve.__version__
    assert f"\nversion: {delve.__version__}\n" in (ROOT / "CITATION.cff").read_text()
    places = {
        path
        for entry in settings["files"]
        for path in ROOT.glob(entry.get("glob") or entry["filename"])
    }
    pattern = re.compile(rf'version[_"]* ?[=:] "?{re.escape(delve.__version__)}\b')
    files = [
        path
        for kind in ("*.toml", "*.cff", "delve/**/*.py", "delve_plugins/**/*.py")
        for path in ROOT.glob(kind)
        if pattern.search(path.read_text())
    ]
    assert set(files) - {ROOT / "pyproject.toml"} == places
