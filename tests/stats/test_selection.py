import pytest
from support.installed import largest_share
from support.writers import Recorder
from torch import nn

from delve import SaturationTracker
from delve.errors import ArgumentError
from delve.stats.registry import SETS, number_keys
from delve.stats.selection import select_stats


def test_a_suffix_keeps_one_mode():
    (both,) = select_stats(["lsat"])
    (evaluation,) = select_stats(["lsat_eval"])
    assert both.modes == ("train", "eval")
    assert evaluation.modes == ("eval",)
    assert evaluation.stat.name == "saturation"


def test_a_statistic_selected_twice_is_one():
    (both,) = select_stats(["idim_eval", "idim_train"])
    assert both.modes == ("train", "eval")


def test_layerwise_saturation_can_be_left_out():
    assert [item.stat.key for item in select_stats(["lsat", "n"], False)] == ["n"]


@pytest.mark.parametrize("name", ["nonsense", "lsat_test", "lsat_", "", "_eval", "saturation"])
def test_an_unknown_statistic_is_refused_with_the_choices(name):
    with pytest.raises(ArgumentError, match="choose from lsat"):
        select_stats([name])


@pytest.mark.parametrize("stats", [["cov_"], ["_train"], [3], 5])
def test_what_names_no_statistic_is_refused(tmp_path, stats):
    with pytest.raises(ArgumentError, match="stats"):
        SaturationTracker(tmp_path / "run", Recorder(), nn.Linear(2, 2), stats=stats)


def test_what_is_installed_is_among_the_choices(tmp_path, monkeypatch):
    largest_share(tmp_path, monkeypatch, "chosen_share", "chosen-share")
    with pytest.raises(
        ArgumentError, match=r"choose from lsat, .*, n, .*, chosen_share, or the sets"
    ):
        select_stats(["chosen"])


def test_two_statistics_of_one_long_name_are_not_recorded_together(tmp_path, monkeypatch):
    largest_share(tmp_path / "a", monkeypatch, "share_a", "twin-share")
    largest_share(tmp_path / "b", monkeypatch, "share_b", "twin-share")
    assert [item.stat.key for item in select_stats(["share_b"])] == ["share_b"]
    with pytest.raises(ArgumentError, match="'share_a' and 'share_b' have the same long name"):
        select_stats(["share_a", "share_b_eval"])


def test_a_set_stands_for_its_statistics_in_the_mode_that_is_said():
    keys = {item.stat.key: item.modes for item in select_stats(["health_eval"])}
    assert set(keys) == set(SETS["health"])
    assert set(keys.values()) == {("eval",)}
    assert not any(item.stat.is_array for item in select_stats(["all"]))
    assert {item.stat.key for item in select_stats(["all"])} == set(number_keys())


def test_a_set_and_its_parts_are_selected_once():
    selected = select_stats(["lsat", "health", "lsat_train"])
    assert len({item.stat for item in selected}) == len(selected)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("saturation", "lsat"),
        ("LSAT", "lsat"),
        ("lsatt", "lsat"),
        ("intrinsic_dimensionality", "idim"),
        ("Effective-Rank_eval", "erank_eval"),
        ("effective rank", "erank"),
        ("spectrum-1", "spectrum"),
        ("helth", "health"),
        ("ALL", "all"),
        ("HEALTH_eval", "health_eval"),
        ("LSAT_EVAL", "lsat_eval"),
        ("lsat_trian", "lsat_train"),
        ("saturation_training", "lsat_train"),
        ("Participation Ratio", "pr"),
    ],
)
def test_what_was_probably_meant_is_named(given, meant):
    with pytest.raises(ArgumentError, match=f"no statistic '{given}'; did you mean '{meant}'?"):
        select_stats([given])
    with pytest.raises(ArgumentError, match="no statistic 'qqqqq'; choose from lsat"):
        select_stats(["qqqqq"])
