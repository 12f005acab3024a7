"""What the options of all objectives share: how a training case is shown, and for how long to warm up.

    class Options(ObjectiveOptions):        # in the class of an objective
        \"\"\"`tau`: the temperature.\"\"\"

        tau: float = Field(4.0, gt=0)

Without torch, so that a configuration is defined without it.
"""

from typing import Literal, get_args

from pydantic import Field

from bench_options import KeywordOptions, MethodOptions

Policy = Literal["idt", "idt_drop", "pdt"]
POLICIES: tuple[Policy, ...] = get_args(Policy)


class ObjectiveOptions(MethodOptions):
    """The options that every objective has.

    `policy`: what a training case shows: `idt` its fixed set of modalities, `idt_drop` a random subset of it,
    `pdt` a random subset of all, while every modality is there to learn from. `warmup_epochs`: epochs at
    first in which only the uni-modal losses are back-propagated.
    """

    policy: Policy = "idt"
    warmup_epochs: int = Field(0, ge=0)

    @property
    def teacher(self) -> "ObjectiveOptions | None":
        """The options of the run that trains a separate teacher; None for objectives without.

        A teacher under `pdt` learns from complete data.
        """
        return None

    @property
    def segments(self) -> bool:
        """Whether the objective trains a segmentation, which can be tested; else it pre-trains."""
        return True


class KeywordObjectiveOptions(ObjectiveOptions, KeywordOptions):
    """The options of an objective of another package that declares none of its own."""
