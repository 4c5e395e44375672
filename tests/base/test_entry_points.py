"""What an installed distribution requires, and whether it is there."""

import sys
from importlib.metadata import EntryPoint

import pytest

from delve.base.entry_points import find, unmet_requirements


@pytest.fixture
def unmet(tmp_path, monkeypatch):
    """What a plugin lacks that requires this of ``backend``, which is there in a version."""

    def install(name, version, more=""):
        metadata = tmp_path / f"{name}-{version}.dist-info"
        metadata.mkdir()
        about = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{more}"
        (metadata / "METADATA").write_text(about)
        return metadata

    def unmet(requirement, version):
        install("backend", version)
        plugin = install("plugin", "1.0", f"Requires-Dist: {requirement}\n")
        (plugin / "entry_points.txt").write_text("[some.group]\nname = module:Class\n")
        monkeypatch.syspath_prepend(tmp_path)
        return unmet_requirements(find("some.group", "name"))

    return unmet


@pytest.mark.parametrize(
    ("requirement", "version"),
    [
        ("backend>=1.5", "2.0rc1"),
        ("backend>=1.5,<3", "2.0.dev3"),
        ("backend", "0.1a1"),
        ("backend>=2.0rc1", "2.0rc2"),
        ("backend~=2.0", "2.1b4"),
        ("backend!=1.9", "2.0rc1"),
        ("backend>=1.5", "2.0+cpu"),
        ("backend>=9; extra == 'more'", "1.0"),
        ("backend>=9; python_version < '3'", "1.0"),
    ],
)
def test_a_prerelease_is_as_good_as_any_version_of_its_number(unmet, requirement, version):
    assert unmet(requirement, version) == []


@pytest.mark.parametrize(
    ("requirement", "version"),
    [
        ("backend>=2", "2.0rc1"),
        ("backend>=2", "2.0.dev1"),
        ("backend<2", "2.0"),
        ("backend>3", "3.0b1"),
    ],
)
def test_a_prerelease_comes_before_its_release(unmet, requirement, version):
    (told,) = unmet(requirement, version)
    assert told == f"{requirement}, but {version} is installed"


def test_what_is_not_there_is_told(unmet):
    assert unmet("no-such-thing>=1", "1.0") == ["no-such-thing>=1, which is not installed"]


def test_what_is_for_a_trainer_is_imported_when_it_is_asked_for(monkeypatch):
    import delve

    offer = EntryPoint("lightning", "wsgiref.util", "delve.trainers")
    monkeypatch.setattr("delve.base.entry_points.entry_points", lambda group: [offer])
    monkeypatch.delitem(sys.modules, "wsgiref.util", raising=False)
    assert delve.lightning.FileWrapper
    assert "wsgiref.util" in sys.modules
    with pytest.raises(
        AttributeError, match=r"install it: pip install ./delve_plugins/delve-keras"
    ):
        _ = delve.keras
    misspelt = "SaturationTrackr"
    with pytest.raises(AttributeError, match=rf"no attribute '{misspelt}'$"):
        getattr(delve, misspelt)
