"""What the sessions of a run say together."""

import pytest

from benchmark.run_folder.sessions import commits


@pytest.mark.parametrize(
    ("environments", "said"),
    [
        ([{"commit": "a1"}], "a1"),
        ([{"commit": "a1", "version": "0.2.0"}, {"commit": "b2", "dirty": True}], "a1, then b2 (modified)"),
        (
            [{"commit": "", "version": "0.2.0"}, {"commit": "", "version": "0.2.1"}],
            "of version 0.2.0, then of version 0.2.1",
        ),
        ([{"commit": ""}], "unknown"),
        ([], "unknown"),
    ],
)
def test_code_is_named_by_its_commit_or_where_there_is_none_by_its_version(environments, said):
    assert commits(environments) == said
