"""The build of the site sees a link that leads nowhere."""

import importlib.util
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "docs/_ext/built_links.py"


@pytest.fixture
def broken():
    """What of a page leads nowhere, as the extension of the site tells it."""
    pytest.importorskip("sphinx")
    spec = importlib.util.spec_from_file_location("built_links", SOURCE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.broken


def test_links_to_files_and_places_that_are_not_there_are_seen(tmp_path, broken):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/index.html").write_text('<p id="here">x</p><a name="old"></a>')
    (tmp_path / "a b.png").write_bytes(b"")
    page = tmp_path / "page.html"
    page.write_text(
        '<section id="one"></section><a href="#one"></a> <a href="#"></a> <a href="#two"></a>'
        '<a href="sub/index.html#here"></a> <a href="sub/#old"></a> '
        '<a href="sub/index.html#no"></a>'
        '<img src="a%20b.png"> <img src="gone.png"> <link href="gone.css?v=1">'
        '<a href="https://pytorch.org/#x"></a> <a href="mailto:a@b.c"></a> <img src="data:,x">'
    )
    assert broken(page) == ["#two", "sub/index.html#no", "gone.png", "gone.css?v=1"]
