import pytest
from delve_plot.figures import rgba_pixels
from delve_plot.lettering import width_of, wrapped
from matplotlib.figure import Figure


@pytest.mark.parametrize("text", ["Saturation, train, epoch 3", "encoder.layer.10_W"])
def test_the_width_is_that_of_the_drawn_text(text):
    figure = Figure()
    drawn = figure.text(0, 0, text, fontsize=12)
    rgba_pixels(figure)
    width = drawn.get_window_extent().width / figure.dpi
    assert width <= width_of(text, 12) < 1.1 * width


def test_signs_that_the_font_lacks_are_measured_without_a_warning():
    assert width_of("\N{ROCKET}", 12) > 0


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("encoder.layer", ["encoder.layer"]),
        ("encoder.layer.10.attention", ["encoder.layer.10.", "attention"]),
        ("some words of a title", ["some words of a", "title"]),
        (
            "a_b.intermediate_activation_projection",
            ["a_b.", "intermediate_", "activation_", "projection"],
        ),
        ("accuracies 0.12345", ["accuracies", "0.12345"]),
        ("W" * 14, ["W" * 9, "W" * 5]),
        ("one\ntwo", ["one", "two"]),
        ("", [""]),
    ],
)
def test_lines_break_at_dots_then_at_underscores_then_anywhere(text, lines):
    width = width_of("W" * 9, 10)
    assert wrapped(text, 10, width).split("\n") == lines
    assert all(width_of(line, 10) <= width for line in lines)
