import math
import time

import numpy as np
from delve_plot.cells import MOST_COLUMNS, cells_of

NAN = math.nan


def test_few_epochs_have_a_column_each():
    cells = cells_of(np.array([[1.0, 2.0, NAN], [4.0, 5.0, math.inf]]), [2, 3, 5])
    np.testing.assert_array_equal(cells.values, [[1, 2, NAN, NAN], [4, 5, NAN, NAN]])
    assert (cells.step, cells.first, cells.last) == (1, 2, 5)
    assert cells.extent == (1.5, 5.5, 1.5, -0.5)
    assert (cells.lacking, cells.marks.tolist()) == (2, [4, 5])


def test_many_epochs_share_columns_that_show_the_mean_of_what_is_there():
    count = 2 * MOST_COLUMNS + 1
    values = np.arange(3.0 * count).reshape(3, count)
    values[1, :4] = NAN, 7.0, NAN, NAN
    cells = cells_of(values, list(range(10, 10 + count)))
    assert cells.step == 3
    assert cells.values.shape == (3, math.ceil(count / 3))
    assert cells.values[0, :2].tolist() == [1.0, 4.0]
    assert cells.values[1, 0] == 7.0
    assert (cells.lacking, cells.marks.tolist()) == (3, [10, 12, 13])
    left, right, *_ = cells.extent
    assert (left, right) == (9.5, 9.5 + 3 * cells.values.shape[1])


def test_a_column_without_any_value_has_none():
    values = np.full((1, 3000), 0.5)
    values[:, 800:1600] = NAN
    cells = cells_of(values, range(3000))
    assert np.flatnonzero(np.isnan(cells.values[0])).tolist() == list(range(100, 200))
    assert cells.lacking == 800
    assert set(range(800, 1600)).issuperset(cells.marks.tolist())
    assert (cells.marks[0], len(cells.marks)) == (800, math.ceil(800 / 3))


def test_a_gap_costs_no_more_than_the_epochs_around_it():
    last = 2**53
    begun = time.process_time()
    cells = cells_of(np.array([[0.25, 0.5, NAN, 0.75]]), [0, 1, 2, last])
    assert time.process_time() - begun < 0.5
    assert cells.values.shape == (1, MOST_COLUMNS)
    assert (cells.values[0, 0], cells.values[0, -1]) == (0.375, 0.75)
    assert np.isnan(cells.values[0, 1:-1]).all()
    assert cells.lacking == last - 2
    assert cells.marks[0] == 2
    assert len(cells.marks) <= 1000


def test_many_short_gaps_are_marked_no_more_often_than_can_be_seen():
    epochs = list(range(0, 100_000, 2))
    cells = cells_of(np.ones((1, len(epochs))), epochs)
    assert cells.lacking == len(epochs) - 1
    assert len(cells.marks) <= 1000
    assert all(mark % 2 for mark in cells.marks.tolist())
