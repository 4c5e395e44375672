from delve_mlflow.keys import MAX_LENGTH, clean_key
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from mlflow.exceptions import MlflowException
from mlflow.utils.validation import _validate_metric_name, _validate_param_name

from delve.files import ends_in_digest

# As a metric may be called, and what is awkward in a path, in Windows and in MLflow.
NAMES = (
    st.text(max_size=300)
    | st.text("./\\:_-~ ab1(\N{FIRE}\n\N{LATIN SMALL LETTER E WITH ACUTE}", max_size=12)
    | st.lists(st.sampled_from(["", ".", "..", "a", "b.c", "d e", "x" * 120])).map("/".join)
    | st.integers(MAX_LENGTH - 10, MAX_LENGTH + 10).map("x".__mul__)
)

no_deadline = settings(deadline=None)  # times vary too much on a shared machine


def is_taken_by_mlflow(name):
    try:
        _validate_metric_name(name)
        _validate_param_name(name)
    except MlflowException:
        return False
    return True


@no_deadline
@given(NAMES)
def test_mlflow_takes_every_key_on_every_system(name):
    key = clean_key(name)
    assert is_taken_by_mlflow(key)
    assert len(key) <= MAX_LENGTH
    assert ":" not in key


@no_deadline
@given(
    st.lists(st.from_regex(r"[\w-]( ?[\w-]){0,8}(\.\w)?", fullmatch=True), min_size=1, max_size=9)
)
def test_an_ordinary_name_is_the_key(parts):
    name = "/".join(parts)
    assume(not ends_in_digest(name))
    assert clean_key(name) == name


@no_deadline
@given(NAMES, st.data())
def test_two_names_never_meet_in_one_key(name, data):
    """The other one is like what becomes of the first, or differs from it in one character."""
    place = data.draw(st.integers(0, max(0, len(name) - 1)))
    changed = name[:place] + data.draw(st.sampled_from("()_./: ")) + name[place + 1 :]
    other = data.draw(st.sampled_from([clean_key(name), changed, f"{name}/", f"./{name}"]))
    assume(other != name)
    assert clean_key(other) != clean_key(name)
