"""Names of our own, of families, of installed packages, and `module:Class`; and what is said if they fail."""

import sys

import pytest

from bench_errors import InputError
from bench_registry import PLUGINS, Registry, construct

PACKAGE = "my-networks"


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An installed package that offers a thing `theirs`, and one by a name of ours."""
    (tmp_path / "my_networks.py").write_text("class Net:\n    pass\n")
    info = tmp_path / "my_networks-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {PACKAGE}\nVersion: 1.2\n")
    (info / "top_level.txt").write_text("my_networks\n")
    (info / "entry_points.txt").write_text(
        "[passion_bench.things]\ntheirs = my_networks:Net\nours = my_networks:Net\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    sys.modules.pop("my_networks", None)


def registry():
    return Registry(
        "thing",
        {"ours": ("collections:OrderedDict", "a thing of ours"), "bare": "collections:Counter"},
        families={"f": ("operator:attrgetter", "what attrgetter makes")},
    )


def test_entries_may_say_what_they_are():
    assert registry().lines()[:2] == [("ours", "a thing of ours"), ("bare", "")]
    assert registry().get("bare").__name__ == "Counter"


def test_a_family_makes_things_of_the_rest_of_the_name():
    things = registry()
    assert things.get("f:real")(2.5) == 2.5
    assert (things.kind_of("f:real"), things.kind_of("ours"), things.kind_of("a:B")) == ("f", "own", "plugin")
    assert "f:real" not in list(things)
    assert ("f:<Name>", "what attrgetter makes") in things.lines()


def test_an_installed_package_offers_its_names(package):
    things = registry()
    assert list(things) == ["ours", "bare", "theirs"]
    assert things.check("theirs") == "theirs"
    assert things.get("theirs").__name__ == "Net"
    assert things.get("ours").__name__ == "OrderedDict"
    assert things.origin("theirs") == things.origin("my_networks:Net") == "my_networks:Net (my-networks 1.2)"
    assert ("theirs", "plugin my_networks:Net (my-networks 1.2)") in things.lines()


def test_an_added_name_is_kept_as_what_it_stands_for(package):
    things = registry()
    things.add("Net", "my_networks:Net")
    assert things.check("Net") == "my_networks:Net"
    assert things.get("Net") is things.get("my_networks:Net")
    with pytest.raises(InputError, match="a thing 'ours' already"):
        things.add("ours", "my_networks:Net")


def test_modules_of_the_current_folder_are_found(tmp_path, monkeypatch):
    (tmp_path / "here_alone.py").write_text("class Net:\n    pass\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p])
    with pytest.raises(InputError, match=r"thing here_alone:Net is code .* by --plugin here_alone:Net"):
        registry().get("here_alone:Net")
    assert "here_alone" not in sys.modules
    monkeypatch.setenv(PLUGINS, "other:Net,here_alone:Net")
    assert registry().get("here_alone:Net").__name__ == "Net"
    assert registry().origin("here_alone:Net") == "here_alone:Net"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("our", "did you mean ours"),
        ("nowhere:Net", "no module nowhere: install its package, or start bench in the folder"),
        ("broken_one:Net", "broken_one needs the module nothing_at_all: install it"),
        ("broken_two:Net", "cannot be imported: ZeroDivisionError"),
        ("sound:Nett", "unknown class 'Nett': did you mean Net?"),
        ("sound:", "unknown class ''"),
    ],
)
def test_what_cannot_be_found_is_said(tmp_path, monkeypatch, name, says):
    (tmp_path / "broken_one.py").write_text("import nothing_at_all\n")
    (tmp_path / "broken_two.py").write_text("1 / 0\n")
    (tmp_path / "sound.py").write_text("class Net:\n    pass\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(PLUGINS, name)
    for ask in (registry().check, registry().get):
        with pytest.raises(InputError, match=says):
            ask(name)


def make(width, crop, depth=2):
    return width, crop, depth


def make_open(**options):
    return make(**options)


def test_facts_are_given_where_they_are_taken():
    facts = {"crop": 80, "cases": 3}
    assert construct("net x", make, facts, {"width": 4}) == (4, 80, 2)


@pytest.mark.parametrize(
    ("function", "arguments", "says"),
    [
        (make, {"widht": 4}, "net x: unknown argument 'widht': did you mean width"),
        (make, {"width": 4, "crop": 2}, "net x: the argument crop follows from the run"),
        (make, {}, "net x needs the arguments width"),
        (make_open, {"width": 4, "dept": 1}, "unexpected keyword argument 'dept'"),
        ("text", {}, "net x is a str, expected a class"),
    ],
)
def test_wrong_arguments_are_named(function, arguments, says):
    with pytest.raises(InputError, match=says):
        construct("net x", function, {"crop": 80}, arguments)
