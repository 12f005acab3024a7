"""YAML as users write it: what is read, and that all else is refused with its line."""

import pytest
import yaml
from pydantic import Field, model_validator

from bench_errors import InputError
from bench_schema import Frozen, refuse
from bench_yaml import Document, parse_yaml, read_named, read_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-1", 0.1),
        ("1E5", 1e5),
        (".5", 0.5),
        ("-2.", -2.0),
        ("010.5", 10.5),
        ("+3", 3),
        ("0", 0),
        ("9" * 18, 10**18 - 1),
        ("true", True),
        ("FALSE", False),
        ("~", None),
        ("", None),
        ("y", "y"),
        ("1e", "1e"),
        ("1.2.3", "1.2.3"),
        ("2020-01-01", "2020-01-01"),
        ("fold0of5", "fold0of5"),
        ("'yes'", "yes"),
        ('"010"', "010"),
        ("|\n  no\n", "no\n"),
        ("{010: a, no: b, 1.50: c, null: d}", {"010": "a", "no": "b", "1.50": "c", "null": "d"}),
        ("{<<: {a: 1, b: 2}, b: 3}", {"a": 1, "b": 3}),
        ("{b: 3, <<: [{a: 1}, {a: 2, c: 4}]}", {"b": 3, "a": 1, "c": 4}),
        ("[&x {a: [1]}, *x]", [{"a": [1]}, {"a": [1]}]),
    ],
)
def test_values(text, value):
    found = parse_yaml(text, "here").content
    assert found == value
    assert type(found) is type(value)


def test_minus_zero_is_zero():
    assert str(parse_yaml("-0.0", "here").content) == "0.0"
    assert str(parse_yaml("-0", "here").content) == "0"


@pytest.mark.parametrize(
    "text",
    [
        *("yes", "No", "ON", "off", "010", "-007", "089", "1:30", "1:30.5", "1_000", "1_0.5", "0x1F", "0b1"),
        *("0o7", ".inf", "-.INF", ".nan", "1e999", "-1e999", "9" * 19, "9" * 5000),
    ],
)
def test_what_readers_take_for_different_things_is_refused(text):
    with pytest.raises(InputError) as caught:
        parse_yaml(f"a:\n- b: {text}", "here")
    assert str(caught.value).startswith(
        f"here: a, entry 1.b: found {text[:40]}, expected true, false, a finite"
    )
    assert str(caught.value).endswith("or text in quotes")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: 1\nb:\n  c: 1\n  c: 2\n", "line 4: b.c stands there twice: remove one"),
        ("a: 1\n'a': 2\n", "line 2: a stands there twice"),
        ("a: 1\n? [b]\n: 2\n", "line 1: expected words as keys"),
        ("a:\n- !!python/name:os.system x\n", "line 2: a, entry 1 has the tag tag:yaml.org,2002:python/name"),
        ("a: !!set {b, c}\n", "line 1: a has the tag tag:yaml.org,2002:set, expected none: remove it"),
        ("a: 1\nb: &x [1, *x]\n", "line 2: expected at most 32 levels and 100000 parts"),
        ("a: yes\nb:\n- 1\n- no\n", "line 1: a: found yes, expected"),
        ("a: yes\nb:\n- 1\n- no\n", "; line 4: b, entry 2: found no, expected"),
        ("a: [1\n", "is not YAML (while parsing a flow sequence line 1, column 4"),
        ("a\0", "is not YAML"),
        ("--- 1\n--- 2\n", "expected a single document"),
        ("[" * 2000, "is not YAML"),
        ("b'\xff", "cannot be read"),
    ],
)
def test_files_that_nobody_understands(tmp_path, text, says):
    path = tmp_path / "mine.yaml"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError) as caught:
        read_yaml("grid", path, "write another")
    assert str(caught.value).startswith(f"grid {path}")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_bomb_of_aliases_is_refused():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 20)]
    with pytest.raises(InputError, match="look for an alias"):
        parse_yaml("\n".join(lines), "here")
    lines = ["a0: &a0 {x: 1}"]
    lines += [f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 10)}]}}" for i in range(1, 20)]
    with pytest.raises(InputError, match="look for an alias"):
        parse_yaml("\n".join(lines), "here")


def test_an_alias_stands_where_it_is_used():
    document = parse_yaml("a: &x\n  b: [1, 2]\nc: *x\nd:\n- *x\n", "f", "{}, line {}")
    marks = [document.mark(location) for location in (("a", "b", 0), ("c", "b", 1), ("d", 0, "b"), ("d", 7))]
    assert marks == ["f, line 2", "f, line 3", "f, line 4", "f, line 4"]


def test_what_is_no_file(tmp_path):
    for path in (tmp_path, tmp_path / "none.yaml", tmp_path / ("x" * 300), tmp_path / "a\0"):
        with pytest.raises(InputError, match=r"cannot be read \(.*\): give another"):
            read_yaml("grid", path, "give another")
    (tmp_path / "first.yaml").write_text("a: 1\n")
    assert read_named("grid", "first", tmp_path).content == {"a": 1}
    with pytest.raises(InputError, match="unknown grid 'frst': did you mean first"):
        read_named("grid", "frst", tmp_path)
    with pytest.raises(InputError, match=r"grid frst.yaml cannot be read .* or one of first"):
        read_named("grid", "frst.yaml", tmp_path)


class Inner(Frozen):
    high: float = Field(1.0, gt=0)
    name: str = ""


class Outer(Frozen):
    inner: Inner = Inner()
    several: dict[str, Inner] = Field(default_factory=dict)
    number: int = 3

    @model_validator(mode="after")
    def _check(self):
        if self.number == 13:
            refuse({("inner", "high"): "has no effect with 13", ("number",): "13 is unlucky"})
        return self


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "inner:\n  hihg: 1\n",
            ["line 2: inner.hihg: no such option here, did you mean high? known are high"],
        ),
        ("inner: 3\n", ["line 1: inner: expected a mapping with the keys high, name, found 3"]),
        ("- 3\n", ["line 1: expected a mapping with the keys inner, several, number, found [3]"]),
        ("", ["mine.yaml: expected a mapping with the keys inner"]),
        ('"a\\nb": 1', ["line 1: a b: no such option here"]),
        (
            "number: 1.0\ninner: {high: 0,\n  name: 3}\nseveral:\n  a:\n    high: true\n    x: 1\n",
            [
                "line 1: number: expected a whole number, found 1.0",
                "line 2: inner.high: expected more than 0, found 0",
                "line 3: inner.name: expected text, found 3",
                "line 6: several.a.high: expected a number, found True",
                "line 7: several.a.x: no such option here, remove it; known are high, name",
            ],
        ),
        (
            "inner: {high: 2}\nnumber: 13\n",
            ["line 1: inner.high has no effect with 13", "line 2: number: 13 is unlucky"],
        ),
        (f"inner: {{high: {'x' * 500}}}\n", ["found '" + "x" * 79]),
    ],
)
def test_all_that_is_wrong_is_said_with_its_line(text, says):
    with pytest.raises(InputError) as caught:
        parse_yaml(text, "mine.yaml", "{}, line {}").check(Outer)
    for part in says:
        assert part in str(caught.value)
    assert str(caught.value).count("mine.yaml") == 1
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("value", [float("inf"), float("nan"), True, "1", None])
def test_models_made_in_python_are_as_strict(value):
    with pytest.raises(InputError, match=r"made: inner.high: expected a (finite )?number, found"):
        Document({"inner": {"high": value}}, "made").check(Outer)


def test_files_that_other_programs_write_come_back(tmp_path):
    content = {"a": ["yes", "010", "1:30", "null", "", "1e3.", "x: y"], "b": {"1": 1e-05, "c": -2.5e300}}
    path = tmp_path / "written.yaml"
    path.write_text(yaml.safe_dump(content))
    assert read_yaml("file", path, "").content == content
