"""Draws inside a network: a function of step, case and row, not of the batch."""

import torch

from backbones import noise

LIKE = torch.zeros(3, 4, 2, 2, 2, dtype=torch.float64)
ITEMS, LABELS = torch.tensor([0, 1, 1]), ["flair", "flair", "t1"]


def drawn(
    step: str = "s", cases: tuple[str, ...] = ("a", "b"), rows: tuple[int, ...] = (0, 1, 2), label: str = "z"
) -> torch.Tensor:
    chosen = torch.tensor(rows)
    with noise.step(step, cases), noise.rows(ITEMS[chosen], [LABELS[r] for r in rows]):
        return noise.normal(LIKE[chosen], label)


def test_a_row_draws_the_same_alone_and_in_any_order() -> None:
    together = drawn()
    assert drawn(rows=(2, 0)).equal(together[[2, 0]])
    assert drawn(rows=(1,)).equal(together[1:2])
    assert drawn(cases=("x", "b"), rows=(1, 2)).equal(together[1:])
    assert together.dtype == torch.float64


def test_steps_cases_rows_and_layers_draw_otherwise() -> None:
    together = drawn()
    assert len({together[r].sum().item() for r in range(3)}) == 3
    for other in (drawn(step="t"), drawn(cases=("c", "d")), drawn(label="y")):
        assert not (other == together).any()


def test_a_part_of_a_network_that_is_computed_again_drops_the_same() -> None:
    layer = noise.Dropout(0.5, "level 1", whole_maps=True)
    x = torch.ones(3, 40, 2, 2, 2)
    with noise.step("s", ["a", "b"]), noise.rows(ITEMS, LABELS):
        first, second = layer(x), layer(x)
    assert first.equal(second)
    assert set(first.unique().tolist()) == {0.0, 2.0}
    assert first.flatten(2).std(dim=2).max() == 0  # a map is dropped as a whole
    assert layer.eval()(x) is x


def test_outside_a_step_torch_draws() -> None:
    torch.manual_seed(1)
    with noise.rows(ITEMS, LABELS):
        first = noise.normal(LIKE, "z")
    torch.manual_seed(1)
    assert noise.normal(LIKE, "z").equal(first)
