"""Tables in LaTeX: what is taller than a page comes in parts, and all of it compiles."""

import re
import shutil
import subprocess

import pytest
from recorded_runs import record

from benchmark.report.data.collect import collect
from benchmark.report.tables import render
from benchmark.report.tables.contents import contents
from benchmark.report.tables.render import LINES, latex

OBJECTIVES = (
    "baseline",
    "dwa",
    "gradnorm",
    "kd",
    "moddrop",
    "passion",
    "pcgrad",
    "pmr",
    "uncertainty",
    "own",
)
DOCUMENT = (
    r"\documentclass[twocolumn]{article}\usepackage{booktabs,graphicx}\usepackage[margin=1in]{geometry}"
    r"\begin{document}%s\end{document}"
)


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "tall"
    for i, objective in enumerate(OBJECTIVES):
        for backbone in ("mmformer", "rfnet"):
            record(folder, objective, backbone=backbone, strength=0.01 * i)
        record(folder, objective, seed=1038, strength=0.01 * i + 0.005)
    return [table for section in contents(collect([folder])) for table in section.tables]


def parts(text):
    return text.split(r"\begin{table*}")[1:]


def body(part):
    """The lines below the head: each ends in two backslashes."""
    return [line for line in part.split(r"\midrule", 1)[1].splitlines() if line.endswith(r"\\")]


def test_a_tall_table_comes_in_parts_with_one_number(tables):
    table = next(table for table in tables if table.kind == "subsets")
    found = parts(latex(table))
    # Four regions of 20 methods, half of them with a line of standard deviations.
    assert [len(body(part)) for part in found] == [30] * 4
    assert all(max(len(body(part)) for part in parts(latex(table))) <= LINES for table in tables)
    methods = re.findall(
        r"(?:mmFormer|RFNet) [^&]*", "".join(line + "\n" for part in found for line in body(part))
    )
    assert len(methods) == 4 * len(OBJECTIVES) * 2
    assert [part.count(r"\label") for part in found] == [1, 0, 0, 0]
    assert [part.count(r"\addtocounter{table}{-1}") for part in found] == [0, 1, 1, 1]
    assert "continued" in found[1]


def test_a_block_taller_than_a_part_names_its_region_again(tables, monkeypatch):
    monkeypatch.setattr(render, "LINES", 9)
    table = next(table for table in tables if table.kind == "subsets")
    found = parts(latex(table))
    assert len(found) == 4 * 4
    assert [body(part)[0].split(" & ")[0] for part in found[:5]] == ["WT"] * 4 + ["TC"]
    # A method's standard deviations stay with its means.
    assert all(body(part)[0].split(" & ")[1] for part in found)
    assert sum(len(body(part)) for part in found) == 4 * 30


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")
def test_all_compile_and_fit_a_page(tables, tmp_path):
    text = "".join(map(latex, tables))
    (tmp_path / "all.tex").write_text(DOCUMENT % text)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Float too large" not in done.stdout
    assert "Overfull" not in done.stdout
    assert (tmp_path / "all.pdf").exists()
