import sys
from pathlib import Path

import pytest

from delve.cli import health

METADATA = "Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{requires}"


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Put a distribution that offers writers on the path; returns its health by name."""
    monkeypatch.syspath_prepend(tmp_path)

    def install(name, code, entry_points, version="1.2", requires=()):
        folder = tmp_path / f"{name.replace('-', '_')}-{version}.dist-info"
        folder.mkdir()
        lines = "".join(f"Requires-Dist: {one}\n" for one in requires)
        (folder / "METADATA").write_text(
            METADATA.format(name=name, version=version, requires=lines)
        )
        (folder / "entry_points.txt").write_text("[delve.writers]\n" + "\n".join(entry_points))
        Path(tmp_path / f"{name.replace('-', '_')}.py").write_text(code)
        return {one.name: one for one in health.installed()}

    yield install
    for module in [m for m in sys.modules if m.startswith("probe_")]:
        del sys.modules[module]


GOOD = "class Writer:\n    def __init__(self, savepath): pass\n    def save(self, epoch): pass\n"


def test_a_writer_that_can_work_is_healthy(install):
    found = install("probe-good", GOOD, ["good = probe_good:Writer"], "3.1", ["torch>=2"])["good"]
    assert found == health.WriterHealth("good", "probe-good", "3.1")


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("import no_such_backend", "cannot be imported (ModuleNotFoundError"),
        ("class Writer:\n    def save(self, epok): pass", "epok"),
        ("class Writer: pass", "none of the methods"),
        ("class Writer:\n    def __init__(self): raise RuntimeError('no key')", "no key"),
        ("Writer = 3", "not a class"),
    ],
)
def test_what_is_wrong_with_a_writer_is_told(install, code, problem):
    assert problem in install("probe-bad", code, ["bad = probe_bad:Writer"])["bad"].problem


def test_a_requirement_that_is_not_installed_is_named_unless_it_is_optional(install):
    requires = ["torch>=2", "no-such-backend[extra]>=3", 'other-backend; extra == "more"']
    found = install("probe-lacks", GOOD, ["lacks = probe_lacks:Writer"], requires=requires)["lacks"]
    assert "requires no-such-backend>=3, which is not installed" in found.problem


def test_a_writer_with_arguments_that_it_cannot_do_without_is_healthy_and_names_them(install):
    code = "class Writer:\n    def __init__(self, savepath, dsn, port=1): pass\n"
    code += "    def save(self, epoch): pass\n"
    found = install("probe-needs", code, ["needs = probe_needs:Writer"])["needs"]
    assert (found.problem, found.needs) == (None, ("dsn",))


def test_a_name_that_two_distributions_claim_is_a_problem_of_this_name_alone(install):
    install("probe-one", GOOD, ["twice = probe_one:Writer"])
    found = install("probe-two", GOOD, ["twice = probe_two:Writer"])
    assert "more than one distribution" in found["twice"].problem
    assert set(found["twice"].distribution.split(", ")) == {"probe-one", "probe-two"}
    assert found["print"].problem is None


def test_plugins_of_ours_that_are_not_installed_are_known(monkeypatch):
    monkeypatch.setattr("delve.base.entry_points.entry_points", lambda group: [])
    assert health.not_installed()["csv"] == "delve-csv"
    assert health.installed() == []
