"""From a name in ``save_to`` to a checked writer, with real distributions in a folder of the test.

Only what a test installs is there: the environment's own plugins are out of sight.
"""

import sys
import sysconfig
from dataclasses import dataclass
from importlib.metadata import entry_points

import packaging.requirements  # noqa: F401  # the tests' sys.path does not lead to it
import pytest

from delve.base import entry_points as entry_points_of_delve
from delve.base.our_plugins import OUR_PLUGINS
from delve.delivery import discovery
from delve.delivery.discovery import (
    GROUP,
    load_writer_class,
    make_writers,
)
from delve.delivery.holdings import readable_writers
from delve.errors import (
    ArgumentError,
    DelveError,
    WriterConflictError,
    WriterContractError,
    WriterLoadError,
    WriterNotFoundError,
)
from delve.writers import PrintWriter

WRITER = """
class Writer:
    def __init__(self, savepath):
        self.savepath = savepath

    def save(self, epoch):
        pass
"""

LOUD = """
class Loud:
    def __init__(self, savepath, volume=1, colour="red"):
        self.arguments = {"volume": volume, "colour": colour}

    def save(self, epoch):
        pass


class Soft:
    def __init__(self, savepath, volume=1, **more):
        self.arguments = {"volume": volume, **more}

    def save(self, epoch):
        pass
"""


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder that distributions are installed in, in place of site-packages."""
    folder = tmp_path / "site"
    folder.mkdir()
    standard = {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")}
    kept = [entry for entry in sys.path if entry in standard or entry.endswith("lib-dynload")]
    before = set(sys.modules)
    monkeypatch.setattr(sys, "path", [str(folder), *kept])
    yield folder
    for name in sys.modules.keys() - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def install(site):
    """Installs a distribution that offers writers: its name, their entry points, its modules."""

    def install(distribution, writers, folder=site, requires=(), **modules):
        info = folder / f"{distribution.replace('-', '_')}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n"
            + "".join(f"Requires-Dist: {requirement}\n" for requirement in requires)
        )
        lines = [f"{name} = {value}" for name, value in writers.items()]
        (info / "entry_points.txt").write_text("\n".join([f"[{GROUP}]", *lines]))
        for module, source in modules.items():
            (folder / f"{module}.py").write_text(source)

    return install


class Saves:
    def save(self, epoch):
        pass


# Selection


@pytest.mark.parametrize(
    ("requirement", "reason"),
    [
        ("backend>=2", "requires backend>=2, but 1.0 is installed; install what it requires"),
        ("backend<1", "requires backend<1, but 1.0 is installed"),
        ("no-such-backend>=2", "requires no-such-backend>=2, which is not installed"),
    ],
)
def test_a_backend_that_is_too_old_or_missing_is_named(install, tmp_path, requirement, reason):
    install("backend", {})
    install("acme-delve", {"acme": "acme_writer:Writer"}, requires=["backend>=1", requirement])
    with pytest.raises(WriterLoadError, match=f"writer 'acme': .*acme-delve {reason}"):
        make_writers("acme", tmp_path)


@pytest.mark.parametrize("more", ["backend==1.*", "no-such; extra == 'more'"])
def test_requirements_that_are_met_or_of_an_extra_are_no_hindrance(install, tmp_path, more):
    install("backend", {})
    source = "class Writer:\n    def save(self, epoch): pass\n"
    install("acme-delve", {"acme": "acme_writer:Writer"}, requires=[more], acme_writer=source)
    assert [writer.name for writer in make_writers("acme", tmp_path)] == ["acme"]


def test_only_the_installed_distributions_are_seen(install):
    assert not entry_points(group=GROUP)
    install("acme-delve", {"acme": "acme_writer:Writer"})
    assert entry_points_of_delve.offers(GROUP).keys() == {"acme"}


def test_a_name_gives_a_writer_for_the_runs_folder(install, tmp_path):
    install("acme-delve", {"acme": "acme_writer:Writer"}, acme_writer=WRITER)
    (named,) = make_writers("acme", tmp_path / "run")
    assert named.name == "acme"
    assert type(named.writer).__name__ == "Writer"
    assert vars(named.writer)["savepath"] == str(tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_only_the_selected_plugin_is_imported(install, tmp_path):
    install("acme-delve", {"acme": "acme_writer:Writer"}, acme_writer=WRITER)
    install("bad-delve", {"bad": "bad_writer:Writer"}, bad_writer="raise RuntimeError('imported')")
    assert entry_points_of_delve.offers(GROUP).keys() == {"acme", "bad"}
    make_writers("acme", tmp_path)
    assert "acme_writer" in sys.modules
    assert "bad_writer" not in sys.modules


def test_names_and_objects_mix_in_their_order(install, tmp_path):
    install("acme-delve", {"acme": "acme_writer:Writer"}, acme_writer=WRITER)
    own = Saves()
    writers = make_writers([own, "acme", None], tmp_path)
    assert [writer.name for writer in writers] == ["Saves", "acme"]
    assert writers[0].writer is own


def test_a_name_or_an_object_given_twice_counts_once(install, tmp_path):
    install("acme-delve", {"acme": "acme_writer:Writer"}, acme_writer=WRITER)
    own = Saves()
    assert len(make_writers(("acme", own, "acme", own), tmp_path)) == 2


def test_two_objects_of_a_class_get_names_of_their_own(tmp_path):
    writers = make_writers([Saves(), Saves(), Saves()], tmp_path)
    assert [writer.name for writer in writers] == ["Saves", "Saves-2", "Saves-3"]


def test_writers_that_compare_equal_are_both_kept(tmp_path):
    @dataclass
    class Equal:
        folder: str = "same"

        def save(self, epoch):
            pass

    assert len(make_writers([Equal(), Equal()], tmp_path)) == 2


@pytest.mark.parametrize("save_to", [[], (), [None], None])
def test_nothing_selected_is_an_error(tmp_path, save_to):
    with pytest.raises(ArgumentError, match="save_to: name at least one writer"):
        make_writers(save_to, tmp_path)


@pytest.mark.parametrize(
    ("alias", "names"),
    [
        ("tb", ["tensorboard"]),
        ("plotcsv", ["csv", "plot"]),
        ("csvplot", ["csv", "plot"]),
        ("csvplotting", ["csv", "plot"]),
        (["csv", "csvplot", "plot"], ["csv", "plot"]),
    ],
)
def test_aliases_stand_for_their_writers(install, tmp_path, alias, names):
    writers = dict.fromkeys(("csv", "plot", "tensorboard"), "three:Writer")
    install("three", writers, three=WRITER)
    assert [writer.name for writer in make_writers(alias, tmp_path)] == names


# Unknown and broken plugins


def test_an_unknown_name_lists_what_is_installed(install, tmp_path):
    install("acme-delve", {"acme": "a:Writer", "zeta": "a:Writer"})
    with pytest.raises(WriterNotFoundError, match=r"'nosuch' .*installed: acme, zeta\)$") as caught:
        make_writers("nosuch", tmp_path)
    assert isinstance(caught.value, ValueError)


def test_with_nothing_installed_the_list_says_none(site, tmp_path):
    with pytest.raises(WriterNotFoundError, match=r"\(installed: none\)"):
        make_writers("nosuch", tmp_path)


@pytest.mark.parametrize(
    ("typed", "meant"), [("acmee", "acme"), ("mlfow", "mlflow"), ("csv-plot", "csvplot")]
)
def test_a_name_that_is_nearly_right_is_corrected(install, tmp_path, typed, meant):
    install("acme-delve", {"acme": "a:Writer"})
    with pytest.raises(WriterNotFoundError, match=f"did you mean '{meant}'"):
        make_writers(typed, tmp_path)


@pytest.mark.parametrize("name", OUR_PLUGINS)
def test_for_a_writer_of_ours_the_install_commands_are_given(site, tmp_path, name):
    with pytest.raises(WriterNotFoundError) as caught:
        make_writers(name, tmp_path)
    message = str(caught.value)
    assert f"\n    pip install ./delve_plugins/delve-{name}\n" in message
    assert f'\n    pip install "git+URL#subdirectory=delve_plugins/delve-{name}"' in message


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import a_module_that_is_not_there", "ModuleNotFoundError: No module named"),
        ("raise RuntimeError('no licence')", "RuntimeError: no licence"),
        ("class Writer:\nno python", "SyntaxError|IndentationError"),
        ("Writers = 1", "AttributeError"),
    ],
    ids=["import", "raises", "syntax", "no such name"],
)
def test_a_plugin_that_cannot_be_imported_is_named(install, tmp_path, source, reason):
    install("bad-delve", {"bad": "bad_writer:Writer"}, bad_writer=source)
    with pytest.raises(WriterLoadError, match=reason) as caught:
        make_writers("bad", tmp_path)
    assert "writer 'bad': bad_writer:Writer of the distribution bad-delve" in str(caught.value)
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize("value", ["gone:Writer", "not an entry point", "acme_writer:"])
def test_an_entry_point_that_leads_nowhere_is_named(install, tmp_path, value):
    install("bad-delve", {"bad": value}, acme_writer=WRITER)
    with pytest.raises(WriterLoadError, match="of the distribution bad-delve"):
        make_writers("bad", tmp_path)


@pytest.mark.parametrize("value", ["acme_writer", "acme_writer:make", "acme_writer:made"])
def test_an_entry_point_to_something_that_is_no_class_is_named(install, tmp_path, value):
    source = WRITER + "\ndef make(savepath):\n    return Writer(savepath)\n\nmade = make('')\n"
    install("acme-delve", {"acme": value}, acme_writer=source)
    with pytest.raises(WriterLoadError, match=r"acme-delve is not a class; its entry point must"):
        load_writer_class("acme")


def test_two_distributions_with_one_name_are_both_named(install, tmp_path):
    install("acme-delve", {"acme": "acme_writer:Writer"}, acme_writer=WRITER)
    install("other-delve", {"acme": "other_writer:Writer", "fine": "acme_writer:Writer"})
    with pytest.raises(WriterConflictError) as caught:
        make_writers("acme", tmp_path)
    assert "acme-delve (acme_writer:Writer)" in str(caught.value)
    assert "other-delve (other_writer:Writer)" in str(caught.value)
    with pytest.raises(WriterConflictError):
        list(readable_writers(tmp_path))
    make_writers("fine", tmp_path)


def test_a_distribution_found_twice_is_no_conflict(install, tmp_path, monkeypatch):
    copy = tmp_path / "copy"
    install("acme-delve", {"acme": "acme_writer:Writer"}, acme_writer=WRITER)
    install("acme-delve", {"acme": "acme_writer:Writer"}, folder=copy)
    monkeypatch.setattr(sys, "path", [*sys.path, str(copy)])
    make_writers("acme", tmp_path)


def test_every_error_is_a_delve_error():
    for error in (
        ArgumentError,
        WriterConflictError,
        WriterContractError,
        WriterLoadError,
        WriterNotFoundError,
    ):
        assert issubclass(error, DelveError)


# Arguments


@pytest.fixture
def loud_and_soft(install):
    install("loud", {"loud": "loud:Loud", "soft": "loud:Soft"}, loud=LOUD)
    return ["loud", "soft"]


def arguments(save_to, folder, writer_args):
    return {w.name: vars(w.writer)["arguments"] for w in make_writers(save_to, folder, writer_args)}


def test_a_flat_argument_goes_to_each_writer_that_names_it(loud_and_soft, tmp_path):
    given = {"volume": 5, "colour": "blue"}
    assert arguments(loud_and_soft, tmp_path, given) == {
        "loud": {"volume": 5, "colour": "blue"},
        "soft": {"volume": 5},  # takes **more, which does not count
    }


def test_a_nested_argument_goes_to_its_writer_alone(loud_and_soft, tmp_path):
    given = {"loud": {"volume": 5}}
    assert arguments(loud_and_soft, tmp_path, given) == {
        "loud": {"volume": 5, "colour": "red"},
        "soft": {"volume": 1},
    }


@pytest.mark.parametrize("reverse", [False, True])
def test_a_nested_argument_outdoes_a_flat_one(loud_and_soft, tmp_path, reverse):
    given = {"volume": 2, "loud": {"volume": 5}}
    if reverse:
        given = dict(reversed(given.items()))
    found = arguments(loud_and_soft, tmp_path, given)
    assert (found["loud"]["volume"], found["soft"]["volume"]) == (5, 2)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"volum": 5}, r"takes 'volum' \(loud takes colour, volume; soft takes volume\)"),
        ({"loud": {"volum": 5}}, r"takes 'volum' \(loud takes colour, volume\)"),
        ({"soft": {"colour": "blue"}}, r"takes 'colour' \(soft takes volume\)"),
        ({"csv": {"volume": 5}}, "'csv' is a writer that save_to does not select"),
        ({"savepath": "elsewhere"}, "takes 'savepath'"),
    ],
)
def test_an_argument_that_no_writer_takes_is_an_error(loud_and_soft, tmp_path, given, named):
    with pytest.raises(ArgumentError, match=named):
        make_writers(loud_and_soft, tmp_path, given)


def test_arguments_for_writers_made_by_hand_are_an_error(tmp_path):
    with pytest.raises(ArgumentError, match="made by hand get their arguments when you make them"):
        make_writers(PrintWriter(), tmp_path, {"volume": 5})


def test_a_second_name_of_a_writer_serves_in_writer_args_too(monkeypatch, loud_and_soft, tmp_path):
    monkeypatch.setitem(discovery.ALIASES, "both", ("loud", "soft"))
    given = {"both": {"volume": 5, "colour": "blue"}}
    assert arguments("both", tmp_path, given) == {
        "loud": {"volume": 5, "colour": "blue"},
        "soft": {"volume": 5},
    }
    with pytest.raises(ArgumentError, match="no selected writer takes 'unknown'"):
        arguments("both", tmp_path, {"both": {"unknown": 3}})


@pytest.mark.parametrize("writer_args", ["run", ["run"], 3])
def test_writer_args_that_are_no_dictionary_are_refused(tmp_path, writer_args):
    with pytest.raises(ArgumentError, match="writer_args must be a dictionary"):
        make_writers("print", tmp_path, writer_args)


@pytest.mark.parametrize("save_to", [{"print"}, {"print": None}, frozenset({"print"})])
def test_a_selection_that_has_no_order_is_refused(tmp_path, save_to):
    with pytest.raises(ArgumentError, match="save_to must be a writer's name"):
        make_writers(save_to, tmp_path)


def test_a_class_in_place_of_an_object_is_named(tmp_path):
    with pytest.raises(WriterContractError, match=r"an object of it, Saves\(\.\.\.\)"):
        make_writers(Saves, tmp_path)


def test_the_users_writer_args_are_left_as_they_were(loud_and_soft, tmp_path):
    given = {"volume": 2, "loud": {"colour": "blue"}}
    make_writers(loud_and_soft, tmp_path, given)
    assert given == {"volume": 2, "loud": {"colour": "blue"}}


def test_a_constructor_that_takes_no_folder_gets_none(install, tmp_path):
    source = "class Writer:\n    def save(self):\n        pass\n"
    install("acme-delve", {"acme": "acme_writer:Writer"}, acme_writer=source)
    make_writers("acme", tmp_path)


def test_a_constructor_that_needs_more_is_named(install, tmp_path):
    source = "class Writer:\n    def __init__(self, savepath, token):\n        pass\n"
    install("acme-delve", {"acme": "acme_writer:Writer"}, acme_writer=source)
    with pytest.raises(
        WriterContractError, match=r"writer 'acme': Writer could not be made.*token"
    ):
        make_writers("acme", tmp_path)


def test_a_class_in_place_of_an_object_is_refused(tmp_path):
    with pytest.raises(WriterContractError, match=r"is a class; give save_to an object of it"):
        make_writers([PrintWriter], tmp_path)


@pytest.mark.parametrize("thing", [object(), 3, {"csv", "mlflow"}, print])
def test_an_object_without_any_hook_is_refused(tmp_path, thing):
    with pytest.raises(WriterContractError, match="none of the methods of a writer: start, resume"):
        make_writers([thing], tmp_path)


@pytest.mark.parametrize("save_to", ["csv", "plotcsv", ["print", "csv"]])
def test_a_folder_that_csv_would_take_for_its_file_is_refused_at_once(tmp_path, save_to):
    with pytest.raises(ArgumentError, match=r"exp\.csv is to be the run's folder.*/exp, which"):
        make_writers(save_to, tmp_path / "exp.csv")
    assert not list(tmp_path.iterdir())


def test_without_csv_a_folder_may_end_in_csv(tmp_path):
    assert [one.name for one in make_writers("print", tmp_path / "exp.csv")] == ["print"]
