"""Modality dropout: the baseline on a random part of what each case has (Neverova et al., TPAMI 2016).

    objective = passion.create("moddrop", modalities=4, classes=4)

The formula is the baseline's, fuse + prm + sum of sep; each step draws a non-empty subset of the case's
modalities uniformly, as the released code of PASSION (arXiv 2407.14796) does for this comparison.
"""

from typing import Any

from passion.baseline import Baseline


class ModDrop(Baseline):
    """The baseline under the policy `idt_drop`, by its own name. Terms: `fuse`, `prm`, `sep`."""

    def __init__(self, modalities: int, classes: int, **options: Any):
        super().__init__(modalities, classes, policy="idt_drop", **options)
