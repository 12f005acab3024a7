"""Modality dropout: the baseline on a random part of what each case has (Neverova et al., TPAMI 2016).

    objective = passion.create("moddrop", modalities=4, classes=4)

The formula is the baseline's, fuse + prm + sum of sep; each step draws a non-empty subset of the case's
modalities uniformly, as the released code of PASSION (arXiv 2407.14796) does for this comparison.
"""

from typing import ClassVar

from passion.baseline import Baseline
from passion.options import ObjectiveOptions, Policy


class ModDrop(Baseline):
    """The baseline under the policy `idt_drop`, by its own name. Terms: `fuse`, `prm`, `sep`."""

    class Options(ObjectiveOptions):
        """The policy is no option here."""

        policy: ClassVar[Policy] = "idt_drop"  # type: ignore[misc]
