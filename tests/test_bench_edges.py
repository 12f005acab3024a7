import pytest

from bench_edges import space_of
from bench_errors import InputError


@pytest.mark.parametrize(
    ("edges", "dims", "space"),
    [
        (80, 3, (80, 80, 80)),
        (80, 2, (80, 80, 1)),
        ([80, 160, 96], 3, (80, 160, 96)),
        ((256, 128), 2, (256, 128, 1)),
    ],
)
def test_the_space_of_edges(edges, dims, space):
    assert space_of(edges, dims) == space


@pytest.mark.parametrize(("edges", "dims"), [((80, 96), 3), ((80, 96, 80), 2)])
def test_edges_are_those_of_the_axes(edges, dims):
    with pytest.raises(InputError, match=f"the study is {dims}-D: give {dims}, or one for all axes"):
        space_of(edges, dims)
