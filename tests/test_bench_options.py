"""Options of backbones and objectives: declared in their class, or keywords of another package's class."""

import inspect
import subprocess
import sys

import pytest

import backbones
import bench_registry
import passion
from backbones import BACKBONES
from bench_errors import InputError
from bench_options import MethodOptions
from bench_yaml import Document
from benchmark.config.run_config import RunConfig
from passion import OBJECTIVES

PLUGINS = '''
from pydantic import Field

from backbones.rfnet import RFNet
from bench_options import MethodOptions
from passion.baseline import Baseline
from passion.options import ObjectiveOptions
from passion.rivals.pmr import PMR


class Sharp(Baseline):
    class Options(ObjectiveOptions):
        """`sharpness`: of the weights."""

        sharpness: float = Field(1.0, gt=0)

    options: Options


class Gentle(PMR):
    pass


class Keywords(Baseline):
    def __init__(self, modalities, classes, depth=1, **facts):
        super().__init__(modalities, classes, **facts)
        self.depth = depth


class Deaf(Sharp):
    def __init__(self, modalities, classes):
        pass


class Wide(RFNet):
    pass


class Listed(Baseline):
    Options = ["depth"]


class WithoutPolicy(Baseline):
    class Options(MethodOptions):
        depth: int = 1
'''


@pytest.fixture
def plugins(tmp_path, monkeypatch):
    (tmp_path / "plugged.py").write_text(PLUGINS)
    monkeypatch.chdir(tmp_path)
    classes = ("Sharp", "Gentle", "Wide", "Keywords", "Deaf", "Listed", "WithoutPolicy")
    monkeypatch.setenv(bench_registry.PLUGINS, ",".join(f"plugged:{name}" for name in classes))
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    sys.modules.pop("plugged", None)


def wrong(content):
    with pytest.raises(InputError) as caught:
        Document(content, "run").check(RunConfig)
    return str(caught.value)


@pytest.mark.parametrize("name", [*BACKBONES, *OBJECTIVES, "monai:UNet"])
def test_every_option_is_explained_where_it_is_declared(name):
    options = (OBJECTIVES if name in OBJECTIVES else BACKBONES).get(name).Options
    for parent in options.__mro__[: options.__mro__.index(MethodOptions)]:
        for option in inspect.get_annotations(parent):
            assert f"`{option}`" in inspect.getdoc(parent) or parent.__qualname__ == "ModDrop.Options"


def test_a_plugin_declares_options_as_ours_do(plugins):
    section = {"name": "plugged:Sharp", "sharpness": 3, "policy": "idt_drop"}
    config = RunConfig.model_validate({"objective": section})
    assert config.objective.model_dump() == {
        "name": "plugged:Sharp",
        "origin": "plugged:Sharp",
        "policy": "idt_drop",
        "warmup_epochs": 0,
        "sharpness": 3.0,
    }
    assert RunConfig.model_validate(config.model_dump()).hash == config.hash
    assert passion.create(config.objective, 2, 2).options.sharpness == 3
    assert passion.create("plugged:Sharp", 2, 2, sharpness=3, policy="idt_drop").options == config.objective
    assert "did you mean sharpness?" in wrong({"objective": {"name": "plugged:Sharp", "sharpnes": 3}})
    assert "arguments: no such option" in wrong({"objective": {"name": "plugged:Sharp", "arguments": {}}})
    assert "more than 0" in wrong({"objective": {"name": "plugged:Sharp", "sharpness": 0}})


def test_a_plugin_inherits_the_options_of_what_it_derives_from(plugins):
    sections = {"objective": {"name": "plugged:Gentle", "alpha": 2}, "backbone": {"name": "plugged:Wide"}}
    config = RunConfig.model_validate(sections)
    assert passion.create(config.objective, 2, 2).options.alpha == 2
    assert backbones.create(config.backbone, 2, 2).classes == 2
    assert "multiple of 2" in wrong({"backbone": {"name": "plugged:Wide", "width": 3}})


def test_a_plugin_without_options_takes_keywords(plugins):
    section = {"name": "plugged:Keywords", "arguments": {"depth": 3}, "warmup_epochs": 2}
    options = RunConfig.model_validate({"objective": section}).objective
    objective = passion.create(options, 2, 2, counts=[3, 1], cases=3)
    assert (objective.depth, objective.options.warmup_epochs, objective.counts) == (3, 2, [3, 1])
    assert passion.create("plugged:Keywords", 2, 2, depth=3, warmup_epochs=2).options == options
    assert "depth: no such option" in wrong({"objective": {"name": "plugged:Keywords", "depth": 3}})
    with pytest.raises(InputError, match=r"plugged:Keywords: .* unexpected keyword argument 'dept'"):
        passion.create("plugged:Keywords", 2, 2, dept=3)


def test_a_class_that_does_not_take_its_options_is_told(plugins):
    with pytest.raises(InputError, match="Deaf takes no options: let its __init__ take `options`"):
        passion.create("plugged:Deaf", 2, 2)


@pytest.mark.parametrize("name", ["Listed", "WithoutPolicy"])
def test_options_of_another_kind_are_refused(plugins, name):
    expected = f"{name} has Options .*, expected a class: derive it from passion.options.ObjectiveOptions"
    with pytest.raises(InputError, match=expected):
        passion.create(f"plugged:{name}", 2, 2)
    assert "derive it from" in wrong({"objective": f"plugged:{name}"})


@pytest.mark.parametrize("name", ["os:system", "plugged:Listed", "monai:os.system"])
@pytest.mark.parametrize("create", [backbones.create, passion.create])
def test_code_that_nobody_asked_for_is_not_run(tmp_path, monkeypatch, name, create):
    (tmp_path / "plugged.py").write_text(f"open({str(tmp_path / 'imported')!r}, 'w')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(InputError, match=rf"--plugin {name}|unknown MONAI network 'os.system'"):
        create(name, 2, 2, arguments={"command": f"touch {tmp_path / 'called'}"})
    assert [path.name for path in tmp_path.iterdir()] == ["plugged.py"]


@pytest.mark.parametrize("create", [backbones.create, passion.create])
def test_a_function_is_not_called_even_if_asked_for(tmp_path, monkeypatch, create):
    monkeypatch.setenv(bench_registry.PLUGINS, "os:system")
    with pytest.raises(InputError, match=r"os:system is no .*: derive a class from"):
        create("os:system", 2, 2, arguments={"command": f"touch {tmp_path / 'called'}"})
    assert list(tmp_path.iterdir()) == []


def test_arguments_may_be_given_as_such():
    network = backbones.create("monai:UNet", 2, 2, 16, arguments={"channels": [4, 8], "strides": [2]})
    assert network.classes == 2
    with pytest.raises(InputError, match="arguments: expected a mapping, found 3"):
        backbones.create("monai:UNet", 2, 2, 16, arguments=3)
    with pytest.raises(InputError, match="chanels: no such option here"):
        backbones.create("monai:UNet", 2, 2, 16, chanels=[4, 8], arguments={"strides": [2]})


def test_what_is_filled_in_is_no_option(plugins):
    assert wrong({"backbone": {"name": "rfnet", "depth": 1}}).endswith("known are name, width")
    for name, now in (("rfnet", "one of ours"), ("plugged:Wide", "plugged:Wide")):
        text = wrong({"backbone": {"name": name, "origin": "other:Net (other 1.0)"}})
        assert f"{name} was other:Net (other 1.0) when the run was begun and is {now} now" in text


def test_a_configuration_is_defined_without_torch():
    code = "import sys, benchmark.config.grid; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
