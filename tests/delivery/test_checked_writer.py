"""What makes an object a writer, found before the training begins."""

import functools
import logging

import pytest

from delve import hookimpl
from delve.delivery.checked_writer import check_writer
from delve.errors import WriterContractError
from delve.hookspecs import HOOKS


class Saves:
    def save(self, epoch):
        pass


def test_a_writer_takes_only_the_arguments_that_it_names():
    class Some:
        def save(self, timestamp):
            self.saved = timestamp

        @staticmethod
        def close(error):
            pass

    named = check_writer("some", Some())
    named.hook.save(epoch=3, timestamp=7, run=None, step=None)
    assert vars(named.writer)["saved"] == 7
    assert {hook for hook in HOOKS if named.implements(hook)} == {"save", "close"}
    assert named.arguments("save") == {"timestamp"}


def test_arguments_with_defaults_are_passed_and_known():
    class Defaults:
        def resume_from_saved_state(self, initial_epoch=0):
            return initial_epoch

        def save(self, epoch=None):
            pass

    named = check_writer("defaults", Defaults())
    assert named.hook.resume_from_saved_state(initial_epoch=3, run=None) == 3
    assert named.arguments("save") == {"epoch"}


def test_a_marked_method_may_have_another_name():
    class Marked:
        saved = None

        @hookimpl(specname="save")
        def store(self, epoch):
            self.saved = epoch

    named = check_writer("marked", Marked())
    named.hook.save(epoch=3, timestamp=7, run=None, step=None)
    assert vars(named.writer)["saved"] == 3


def test_a_marked_method_that_is_no_hook_is_an_error():
    class Marked(Saves):
        @hookimpl
        def finish(self):
            pass

    with pytest.raises(WriterContractError, match="finish"):
        check_writer("marked", Marked())


def test_an_argument_that_the_hook_does_not_offer_is_named():
    class Unknown:
        def save(self, epoch, batch):
            pass

    with pytest.raises(WriterContractError, match=r"'unknown'.*batch.*see delve\.hookspecs"):
        check_writer("unknown", Unknown())


def keyword_only(self, *, epoch):
    pass


def static_keyword_only(*, epoch):
    pass


@pytest.mark.parametrize(
    "method",
    [keyword_only, staticmethod(static_keyword_only), classmethod(keyword_only)],
    ids=["method", "static", "class"],
)
def test_keyword_only_arguments_are_refused(method):
    writer = type("KeywordOnly", (), {"save": method})()
    with pytest.raises(WriterContractError, match="save takes 'epoch' by keyword only"):
        check_writer("keyword-only", writer)


def test_a_bound_method_of_another_object_may_be_a_hook():
    class Store:
        saved = None

        def store(self, epoch):
            self.saved = epoch

    writer, store = Saves(), Store()
    writer.save = store.store
    check_writer("forwarding", writer).hook.save(epoch=3, timestamp=7, run=None, step=None)
    assert store.saved == 3


@pytest.mark.parametrize("where", ["class", "object"])
def test_a_hook_that_is_no_method_is_refused(where):
    class Called:
        def __call__(self, epoch):
            pass

    writer = Saves()
    if where == "class":
        writer = type("Writer", (), {"save": functools.partial(print)})()
    else:
        writer.save = Called()
    with pytest.raises(WriterContractError, match="save"):
        check_writer("called", writer)


def test_a_coroutine_is_refused():
    class Asynchronous:
        async def save(self, epoch):
            pass

    with pytest.raises(WriterContractError, match="save"):
        check_writer("asynchronous", Asynchronous())


@pytest.mark.parametrize(
    ("method", "meant"),
    [
        ("add_scalers", "add_scalars"),
        ("add_scaler", "add_scalar"),
        ("resume_from_save_state", "resume_from_saved_state"),
        ("add_arrays", "add_array"),
        ("closes", "close"),
    ],
)
def test_a_misspelt_hook_warns(caplog, method, meant):
    writer = type("Writer", (Saves,), {method: lambda self: None})()
    check_writer("mine", writer)
    assert caplog.messages == [
        f"writer 'mine': the method {method} is not a hook and is never called; "
        f"did you mean {meant}?"
    ]


def test_helper_methods_do_not_warn(caplog):
    class Helpers(Saves):
        add_scalers = 3  # no method

        def read(self):
            pass

        def _closes(self):
            pass

        def flush(self):
            pass

    with caplog.at_level(logging.DEBUG):
        check_writer("helpers", Helpers())
    assert not caplog.messages


def test_properties_are_not_evaluated():
    class Careful(Saves):
        @property
        def client(self):
            raise AssertionError("evaluated")

        @property
        def close(self):
            raise AssertionError("evaluated")

        @functools.cached_property
        def add_scalers(self):
            raise AssertionError("evaluated")

    named = check_writer("careful", Careful())
    assert not named.implements("close")


def test_a_writer_that_answers_every_attribute_implements_only_what_it_has():
    class Answers(Saves):
        def __getattr__(self, name):
            return lambda *arguments, **named: None

    named = check_writer("answers", Answers())
    assert [hook for hook in HOOKS if named.implements(hook)] == ["save"]


@pytest.mark.parametrize(
    ("methods", "knows"),
    [
        ({"save": lambda self, epoch: None}, True),
        ({"save": lambda self, epoch=None: None}, True),
        ({"add_scalars": lambda self, value_dict, global_step: None}, True),
        ({"add_scalar": lambda self, name, value, epoch: None}, True),
        ({"add_scalar": lambda self, name, value: None, "save": lambda self: None}, False),
        ({"save": lambda self, **kwargs: None}, False),  # pluggy passes it nothing
        ({"close": lambda self: None}, False),
    ],
)
def test_a_writer_knows_epochs_if_one_of_its_calls_tells_them(methods, knows):
    assert check_writer("it", type("Writer", (), methods)()).knows_epochs is knows
