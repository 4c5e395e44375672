"""What `delve stats` says comes from the registry."""

import json

from click.testing import CliRunner

from delve.cli import main
from delve.stats.built_in import BUILT_IN
from delve.stats.registry import SETS


def shown(*arguments, columns="80"):
    done = CliRunner().invoke(main, ["stats", *arguments], env={"COLUMNS": columns})
    assert done.exit_code == 0, done.output
    return done.output


def test_each_statistic_has_its_key_name_summary_and_source():
    words = " ".join(shown().split())
    for stat in BUILT_IN:
        assert stat.key in words
        assert stat.name in words
        assert stat.summary in words
        assert stat.source in words
    for name in SETS:
        assert f"stats='{name}'" in words


def test_no_line_is_wider_than_the_terminal():
    assert max(map(len, shown(columns="80").splitlines())) <= 80


def test_programs_get_the_same():
    told = json.loads(shown("--json"))
    by_name = {one["name"]: one for one in told}
    assert set(by_name) >= {stat.name for stat in BUILT_IN}
    assert by_name["saturation"]["range"] == [0, 1]
    assert by_name["covariance-trace"]["range"] == [0, None]
    assert by_name["covariance-matrix"]["is_array"]
    assert by_name["dormant-share"]["sets"] == ["all", "health"]


def test_an_installed_statistic_that_cannot_be_used_says_why(tmp_path, monkeypatch):
    folder = tmp_path / "broken_stat-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-stat\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text("[delve.stats]\nbroken_one = nowhere_at_all:STAT\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    words = " ".join(shown().split())
    assert "broken_one" in words
    assert "cannot be used" in words
    assert "broken_one" not in {one["key"] for one in json.loads(shown("--json"))}
