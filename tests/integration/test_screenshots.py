"""The README's pictures can be taken anew, and show something."""

import importlib.util
from pathlib import Path

import pytest
from PIL import Image

SCRIPT = Path(__file__).parents[2] / "docs" / "screenshots.py"


@pytest.fixture(scope="module")
def screenshots():
    spec = importlib.util.spec_from_file_location("screenshots", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_each_picture_shows_a_recorded_run(screenshots, tmp_path):
    chromium = screenshots.find_chromium()
    if chromium is None:
        pytest.skip("Chromium is not installed (Debian's package: chromium)")
    for picture in screenshots.take(chromium, tmp_path):
        with Image.open(picture) as image:
            assert screenshots.shows_curves(image.convert("RGB")), f"{picture.name} is empty"
        assert picture.stat().st_size < 150_000
