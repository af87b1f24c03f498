"""Which cells of a column stand side by side, whatever a folder of results is mixed of."""

import itertools

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from serbench.scores.comparable import agreeing as choose

COLUMNS = st.lists(st.dictionaries(st.sampled_from("abcd"), st.sampled_from(["1.9", "1.10", "2.0"])), max_size=8)


def agreeing(cells):
    """Places of the cells that stay; a fact that a cell does not have is missing."""
    return set(choose(pd.DataFrame(cells, index=range(len(cells)), dtype=object)))


def differing(one, other):
    return [name for name in one if other.get(name, one[name]) != one[name]]


def agreed(cells):
    return {name: value for cell in cells for name, value in cell.items()}


def standing(cells):
    return [cells[i] for i in sorted(agreeing(cells))]


@given(COLUMNS)
def test_cells_that_stand_agree_pairwise(cells):
    assert not any(differing(one, other) for one, other in itertools.combinations(standing(cells), 2))


@given(COLUMNS)
def test_no_cell_is_left_out_that_agrees_with_those_that_stand(cells):
    common = agreed(standing(cells))
    assert all(i in agreeing(cells) or differing(cell, common) for i, cell in enumerate(cells))
    assert bool(agreeing(cells)) == bool(cells)


@given(COLUMNS)
def test_cells_that_stand_would_stand_alone(cells):
    assert standing(standing(cells)) == standing(cells)


@given(COLUMNS.flatmap(lambda cells: st.tuples(st.just(cells), st.permutations(cells))))
def test_order_of_the_cells_decides_nothing(both):
    one, other = (sorted(sorted(cell.items()) for cell in standing(cells)) for cells in both)
    assert one == other


def test_most_cells_stand_and_of_equals_the_newer_release():
    old, new = {"numpy": "2.9", "scipy": "1.17"}, {"numpy": "2.10", "scipy": "1.17"}
    assert standing([old, old, new]) == [old, old]
    assert standing([old, new]) == [new]


def test_facts_that_only_some_cells_have_do_not_part_them():
    cells = [{"numpy": "2.4", "opensmile": "2.6.0"}, {"numpy": "2.4", "librosa": "0.11"}, {"numpy": "2.4"}]
    assert standing(cells) == cells


def test_cells_that_lost_to_others_which_fell_later_come_back():
    cells = [*[{"f": "1", "g": "1"}] * 2, {"f": "2", "g": "2"}, *[{"g": "2"}] * 3]
    assert standing(cells) == cells[2:]
