import inspect

import numpy as np
import pandas as pd
import pytest
from delve_plot import (
    extract_layer_stat,
    plot_scatter_from_results,
    plot_stat,
    plot_stat_level_from_results,
)
from PIL import Image

from delve.testing import train


@pytest.fixture
def table():
    return pd.DataFrame(
        {
            "epoch": [0, 2],
            "accuracy": [0.5, 0.75],
            "train accuracy of saturation": [9.0, 9.0],
            "train-saturation/conv": [0.1, 0.2],
            "train-saturation/fc": [0.3, 0.4],
            "eval-saturation/fc": [0.5, 0.6],
            "train-covariance-trace/fc": [7.0, 8.0],
        }
    )


class TestExtract:
    def test_one_epoch_of_one_statistic(self, table):
        row, value = extract_layer_stat(table, epoch=2, primary_metric="accuracy")
        assert row.to_dict("list") == {
            "train-saturation/conv": [0.2],
            "train-saturation/fc": [0.4],
        }
        assert value == 0.75

    @pytest.mark.parametrize("stat", ["trc", "covariance-trace"])
    def test_short_and_long_names(self, table, stat):
        row, value = extract_layer_stat(table, epoch=-1, stat=stat)
        assert row.to_dict("list") == {"train-covariance-trace/fc": [8.0]}
        assert value is None

    @pytest.mark.parametrize(
        ("key", "name"),
        [
            ("lsat", "saturation"),
            ("erank", "effective-rank"),
            ("pr", "participation-ratio"),
            ("srank", "stable-rank"),
            ("alpha", "power-law-exponent"),
            ("n", "samples"),
        ],
    )
    def test_every_statistic_has_a_short_name(self, key, name):
        table = pd.DataFrame({"epoch": [0], f"eval-{name}/fc": [3.0]})
        row, _ = extract_layer_stat(table, 0, stat=key, state_mode="eval")
        assert row.to_dict("list") == {f"eval-{name}/fc": [3.0]}

    def test_the_epoch_may_be_the_index(self, table):
        row, _ = extract_layer_stat(table.set_index("epoch"), epoch=2, state_mode="eval")
        assert row.to_dict("list") == {"eval-saturation/fc": [0.6]}

    def test_an_epoch_that_is_not_there_is_an_error(self, table):
        with pytest.raises(ValueError, match=r"epoch 1 .* \[0, 2\]"):
            extract_layer_stat(table, epoch=1)

    def test_a_statistic_that_is_not_there_is_an_error_that_names_those_that_are(self, table):
        held = "train-saturation, eval-saturation, train-covariance-trace"
        for stat, mode in (("satuation", "train"), ("trc", "eval")):
            with pytest.raises(ValueError, match=f"is not in the table, which holds {held}$"):
                extract_layer_stat(table, epoch=2, stat=stat, state_mode=mode)
        with pytest.raises(ValueError, match=r"train-saturation .* no statistics"):
            extract_layer_stat(table[["epoch"]], epoch=2)


class TestPlotStat:
    def test_layers_stand_along_x(self, table, tmp_path):
        row, _ = extract_layer_stat(table, epoch=2)
        axes = plot_stat(
            row, "lsat", pm=0.75, primary_metric="accuracy", epoch=-1, savepath=tmp_path / "a.png"
        )
        assert [label.get_text() for label in axes.get_xticklabels()] == ["conv", "fc"]
        assert list(axes.lines[0].get_ydata()) == [0.2, 0.4]
        assert axes.get_ylim() == (0, 1)
        assert axes.texts[0].get_text() == "accuracy: 0.75"
        assert "epoch 2" in axes.get_title()
        with Image.open(tmp_path / "a.png") as image:
            assert image.format == "PNG"

    def test_every_part_can_be_left_out(self, table, tmp_path):
        row, _ = extract_layer_stat(table, epoch=2)
        path = tmp_path / "run.png"
        axes = plot_stat(
            row,
            "lsat",
            savepath=path,
            line=False,
            scatter=False,
            show_col_label_x=False,
            show_col_label_y=False,
            show_grid=False,
            save=False,
            ylim=(0, 2),
            figsize=(3, 2),
        )
        assert not axes.lines
        assert not axes.collections
        assert axes.get_xlabel() == axes.get_ylabel() == ""
        assert axes.get_ylim() == (0, 2)
        assert tuple(axes.figure.get_size_inches()) == (3, 2)
        assert not path.exists()

    def test_from_a_recorded_run(self, tmp_path):
        train(tmp_path, "csv", range(2), stats=["lsat", "idim"])
        path = tmp_path / "metrics.csv"
        axes = plot_stat_level_from_results(path, -1, "lsat_eval", primary_metric="accuracy")
        table = pd.read_csv(path).iloc[-1]
        columns = [name for name in table.index if name.startswith("eval-saturation/")]
        assert list(axes.lines[0].get_ydata()) == table[columns].tolist()
        assert (tmp_path / "metrics_lsat_eval_epoch_1.png").exists()
        axes = plot_stat_level_from_results(path, 0, "idim")
        assert axes.get_ylim()[1] > 1
        assert (tmp_path / "metrics_idim_train_epoch_0.png").exists()

    def test_options_of_the_plot_come_through(self, table, tmp_path):
        path = tmp_path / "metrics.csv"
        table.to_csv(path, index=False)
        options = {"figsize": (3, 2), "line": False, "save": False, "stat_mode": "eval"}
        axes = plot_stat_level_from_results(path, 2, "lsat", "accuracy", 8, **options)
        assert tuple(axes.figure.get_size_inches()) == (3, 2)
        assert not axes.lines
        assert axes.texts[0].get_text() == "accuracy: 0.75"
        assert "eval" in axes.get_title()
        assert list(tmp_path.glob("*.png")) == []
        axes = plot_stat_level_from_results(path, 2, "trc", ylim=(0, 1), save=False)
        assert axes.get_ylim() == (0, 1)
        with pytest.raises(TypeError, match="colour_line"):
            plot_stat_level_from_results(path, 2, "lsat", colour_line="red")  # type: ignore[call-arg]

    def test_a_misspelt_statistic_leaves_no_figure(self, table, tmp_path):
        table.to_csv(tmp_path / "metrics.csv", index=False)
        with pytest.raises(ValueError, match="eval-last is not in the table"):
            plot_stat_level_from_results(tmp_path / "metrics.csv", -1, "last_eval")
        assert list(tmp_path.glob("*.png")) == []


class TestScatter:
    def test_a_panel_for_each_layer(self, tmp_path):
        points = [(0.0, 1.0), (2.0, 3.0)]
        samples = {
            "train-embedded-sample/conv": [points, points],
            "train-embedded-sample/fc": [points, points],
            "eval-embedded-sample/fc": [points, points],
        }
        axes = plot_scatter_from_results(
            tmp_path / "metrics.csv", -1, "embed", pd.DataFrame(samples)
        )
        assert [panel.get_title() for panel in axes.figure.axes if panel.get_visible()] == [
            "conv",
            "fc",
        ]
        np.testing.assert_array_equal(np.array(axes.lines[0].get_data()).T, points)
        assert (tmp_path / "metrics_embed_train_epoch_1.png").exists()

    def test_an_empty_table_gives_nothing(self, tmp_path):
        assert plot_scatter_from_results(tmp_path / "a.csv", -1, "embed", pd.DataFrame()) is None


def test_the_parameters_of_a_level_plot_are_those_that_delve_0_1_documents():
    given = list(inspect.signature(plot_stat_level_from_results).parameters.values())
    names = [parameter.name for parameter in given]
    assert names[:5] == ["savepath", "epoch", "stat", "primary_metric", "fontsize"]
    drawn = list(inspect.signature(plot_stat).parameters.values())
    after = [parameter.name for parameter in drawn].index("figsize")
    assert names[5:] == [parameter.name for parameter in drawn[after:]]
    defaults = {parameter.name: parameter.default for parameter in drawn} | {"ylim": "auto"}
    assert {p.name: p.default for p in given[5:]} == {n: defaults[n] for n in names[5:]}
