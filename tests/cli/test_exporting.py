"""``delve export --set``: what writers are given."""

import pytest
from support.journals import write_run

from delve.cli.exporting import writer_args
from delve.errors import ArgumentError


def test_options_become_the_writers_arguments():
    given = ["mlflow.run_name=width64", "csv.path=a=b", "figures=true", "most=3", "note=null"]
    assert writer_args(given) == {
        "mlflow": {"run_name": "width64"},
        "csv": {"path": "a=b"},
        "figures": True,
        "most": 3,
        "note": None,
    }


@pytest.mark.parametrize("option", ["run_name", "=a", "mlflow.=a", ""])
def test_what_sets_nothing_is_refused(option):
    with pytest.raises(ArgumentError, match=r"--set: .* sets nothing"):
        writer_args([option])


def test_an_argument_that_no_writer_takes_is_told_in_one_line(delve, tmp_path):
    run = write_run(tmp_path, [{"loss": 1.0}])
    result = delve("export", run, "--to", "print", "--set", "colour=blue")
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert result.stderr.startswith("Error: --set: no selected writer takes 'colour'")


def test_a_writer_gets_it(delve, tmp_path):
    pytest.importorskip("delve_npy")
    import inspect

    from delve_npy import NPYWriter

    run = write_run(tmp_path, [{"loss": 1.0}])
    assert delve("export", run, "--to", "npy").exit_code == 0
    known = set(inspect.signature(NPYWriter).parameters) - {"savepath"}
    result = delve("export", run, "--to", "npy", "--set", "npy.nonsense=1")
    assert f"npy takes {', '.join(sorted(known)) or 'none'}" in result.stderr
