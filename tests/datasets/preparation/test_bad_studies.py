"""Broken studies, one kind a row: each has its own clear message and leaves nothing behind."""

import gzip
import json
import shutil
from dataclasses import dataclass, field

import bench_program
import nibabel as nib
import numpy as np
import pytest
from nifti_study import AFFINE, rewrite, write_case, write_image, write_study
from scipy.ndimage import gaussian_filter

from datasets.preparation.prepare import prepare
from datasets.store.store import Store
from datasets.studies.brats import BRATS2018, BRATS2020
from datasets.studies.msd import MSD01
from datasets.studies.myops import MYOPS2020

SEVERITIES = ["note", "warning", "error"]


@dataclass
class Broken:
    """A study of two cases to be spoilt; `paths` are those of case `one` by modality and `label`."""

    root: object
    dataset: str = "brats2020"
    paths: dict = field(default_factory=dict)

    def change(self, name, change):
        rewrite(self.paths[name], change)

    def raw(self, name, change):
        """Change the inflated bytes of a file."""
        content = bytearray(gzip.decompress(self.paths[name].read_bytes()))
        self.paths[name].write_bytes(gzip.compress(bytes(change(content) or content)))

    def again(self, description, **words):
        """Write another dataset's study instead."""
        shutil.rmtree(self.root)
        self.dataset = description.name
        self.paths = write_case(self.root, description, "one", **words)


def fill(value):
    return lambda array, affine: (np.full_like(array, value), affine)


def put(value, dtype=np.float32):
    def change(array, affine):
        array = array.astype(dtype)
        array[5, 5, 4] = value
        return array, affine

    return change


def swapped_voxels(study, dtype):
    """A smooth volume whose header says the other byte order than its voxels have."""
    volume = gaussian_filter(np.random.default_rng(0).random((12, 10, 8)), 2, mode="constant")
    volume = (volume / volume.max() * 900 + 1.5).astype(dtype)
    write_image(study.paths["t1"], volume.byteswap())


def big_endian(study):
    for path in study.paths.values():
        image = nib.load(path)
        array = np.asanyarray(image.dataobj)
        header = nib.Nifti1Header(endianness=">")
        header.set_data_dtype(array.dtype.newbyteorder(">"))
        nib.save(nib.Nifti1Image(array.astype(array.dtype.newbyteorder(">")), AFFINE, header), path)


def swapped_dimensions(raw):
    raw[40:56] = np.frombuffer(bytes(raw[40:56]), "<i2").byteswap().tobytes()


def same_patient(study):
    for suffix in (*BRATS2020.suffixes, "_seg"):
        shutil.copy(study.root / "one" / f"one{suffix}.nii.gz", study.root / "two" / f"two{suffix}.nii.gz")


def label_alone(study):
    for modality in BRATS2020.modalities:
        study.paths[modality].unlink()


def as_folder(study, name):
    study.paths[name].unlink()
    study.paths[name].mkdir()


def shifted(study, by):
    for modality in BRATS2020.modalities:
        study.change(modality, lambda a, m: (a + np.int16(by), m))


def zscored(study, background):
    """As some distribute their images: mean 0 and deviation 1 of the head, and no 0 outside it."""
    for modality in BRATS2020.modalities:
        study.change(
            modality,
            lambda a, m: (np.where(a > 0, (a - a[a > 0].mean()) / a[a > 0].std(), background(a)), m),
        )


def noise(array):
    return np.random.default_rng(0).normal(-3, 0.1, array.shape)


def header(**values):
    """Change fields of every file's header, without what nibabel does to keep them in order."""

    def spoil(study):
        for name in study.paths:
            study.raw(name, lambda raw: _with_fields(raw, values))

    return spoil


def _with_fields(raw, values):
    changed = nib.Nifti1Header(bytes(raw[:348]), check=False)
    for key, value in values.items():
        changed[key] = value
    return changed.binaryblock + bytes(raw[348:])


def emptied(study):
    shutil.rmtree(study.root)
    study.root.mkdir()


def as_loop(study):
    shutil.rmtree(study.root)
    study.root.symlink_to(study.root)


def without_folders(study):
    study.root = study.root / "one"


def two_grades(study):
    study.again(BRATS2018, grade="HGG")
    write_case(study.root, BRATS2018, "one", grade="LGG")


def loop_file(study):
    study.paths["t2"].unlink()
    study.paths["t2"].symlink_to(study.paths["t2"])


def letters(study):
    shutil.rmtree(study.root)
    study.paths = write_study(study.root, BRATS2020, ("Müller 7", "患者"))["Müller 7"]


def decathlon(study, change):
    study.again(MSD01)
    rewrite(study.paths["t1"], change)


def mixed(study):
    shutil.rmtree(study.root / "two")
    (study.root / "two").mkdir()


def text_file(study):
    study.paths["t1"].write_text("see the other folder\n")


def leaves_the_folder(study):
    write_case(study.root, BRATS2020, "a\\..\\..\\b")


KINDS = {
    # kind: (how the study is spoilt, severity of the worst problem or "refused", what is said of it)
    "sound": (lambda s: None, None, "no problems"),
    "missing modality": (lambda s: s.paths["t1"].unlink(), "note", "modality t1 is missing: the case"),
    "missing label": (lambda s: s.paths["label"].unlink(), "error", "found no label, expected one_seg"),
    "no modality at all": (label_alone, "error", "found no modality, expected one of flair, t1ce, t1, t2"),
    "unreadable file": (lambda s: as_folder(s, "t1"), "error", "cannot be read (Is a directory)"),
    "truncated gzip": (
        lambda s: s.paths["t1"].write_bytes(s.paths["t1"].read_bytes()[:-300]),
        "error",
        "truncated: the gzip data end after",
    ),
    "damaged gzip": (
        lambda s: s.paths["t1"].write_bytes(
            s.paths["t1"].read_bytes()[:-8] + b"\0" * 4 + s.paths["t1"].read_bytes()[-4:]
        ),
        "error",
        "damaged gzip data (CRC check failed",
    ),
    "damaged label file": (
        lambda s: s.raw("label", lambda raw: raw[:-10]),
        "error",
        "truncated: found 1910 bytes of voxels, expected 1920: copy it again",
    ),
    "zero-byte file": (lambda s: s.paths["t1"].write_bytes(b""), "error", "the file is empty (0 bytes)"),
    "text file": (text_file, "error", "not a gzip file (it begins with b'see the othe'), expected a packed"),
    "packed text file": (
        lambda s: s.paths["t1"].write_bytes(gzip.compress(b"words " * 99)),
        "error",
        "not a NIfTI file (it begins with b'words words '): export it as NIfTI",
    ),
    "two dimensions": (
        lambda s: s.change("t1", lambda a, m: (a[..., 0], m)),
        "error",
        "found 2 dimensions (12x10), expected 3: give one volume a file",
    ),
    "four dimensions": (
        lambda s: s.change("t1", lambda a, m: (np.stack([a, a], axis=-1), m)),
        "error",
        "found 4 dimensions (12x10x8x2), expected 3",
    ),
    "five dimensions": (
        lambda s: s.change("t1", lambda a, m: (a[..., None, None].repeat(3, 4), m)),
        "error",
        "found 5 dimensions (12x10x8x1x3), expected 3",
    ),
    "no fourth dimension": (
        lambda s: decathlon(s, lambda a, m: (a[..., 0], m)),
        "error",
        "found 3 dimensions (12x10x8), expected 4 with 4 or more volumes along the last",
    ),
    "three channels of four": (
        lambda s: decathlon(s, lambda a, m: (a[..., :3], m)),
        "error",
        "found 4 dimensions (12x10x8x3), expected 4 with 4 or more volumes along the last",
    ),
    "five channels of four": (
        lambda s: decathlon(s, lambda a, m: (np.concatenate([a, a[..., :1] // 2], axis=-1), m)),
        "note",
        "found 5 volumes along the fourth axis, no modality takes 4 (from 0)",
    ),
    "empty channel": (
        lambda s: decathlon(s, lambda a, m: (a * np.array([1, 0, 1, 1], a.dtype), m)),
        "error",
        "the volume is empty (all voxels are 0), expected an image",
    ),
    "other shape": (
        lambda s: s.change("t1", lambda a, m: (a[:, :, :-1], m)),
        "error",
        "shape 12x10x7, expected 12x10x8 (voxels) as in one_flair.nii.gz: resample it",
    ),
    "other spacing": (
        lambda s: s.change("t1", lambda a, m: (a, m @ np.diag([1, 1, 1.01, 1]))),
        "error",
        "spacing 1x1x1.01, expected 1x1x1 (mm, within 0.001) as in one_flair.nii.gz",
    ),
    "other origin": (
        lambda s: s.change("t1", lambda a, m: (a, m + np.outer([1, 0, 0, 0], [0, 0, 0, 0.5]))),
        "error",
        "origin 0.5x239x0, expected 0x239x0 (mm, within 0.001) as in one_flair.nii.gz",
    ),
    "other direction": (
        lambda s: s.change("t1", lambda a, m: (a, m * np.array([[-1, 1, 1, 1]] * 4))),
        "error",
        "direction 1x0x0, expected -1x0x0 (cosines of the axes, within 0.001) as in",
    ),
    "other grid of the label": (
        lambda s: s.change("label", lambda a, m: (a, m + np.outer([0, 0, 1, 0], [0, 0, 0, 2]))),
        "error",
        "origin 0x239x2, expected 0x239x0",
    ),
    "affine without inverse": (
        lambda s: s.raw("t1", lambda raw: raw.__setitem__(slice(280, 328), bytes(48))),
        "error",
        "the header's affine has no inverse",
    ),
    "colours": (
        lambda s: s.raw("t1", lambda raw: raw.__setitem__(slice(70, 74), b"\x80\0\x18\0")),
        "error",
        "expected real numbers: export the file again",
    ),
    "NaN": (lambda s: s.change("t1", put(np.nan)), "error", "found 1 NaN or infinite voxels, expected none"),
    "infinite": (
        lambda s: s.change("t1", lambda a, m: (np.where(a > 900, np.inf, a), m)),
        "error",
        "NaN or infinite voxels, expected none: export the file again",
    ),
    "constant volume": (lambda s: s.change("t1", fill(7)), "error", "the volume is constant (all voxels"),
    "empty volume": (lambda s: s.change("t1", fill(0)), "error", "the volume is empty (all voxels are 0)"),
    "mask as volume": (
        lambda s: s.change("t1", lambda a, m: ((a > 0).astype(np.uint8), m)),
        "error",
        "the volume is constant (1) wherever there is tissue",
    ),
    "background that is not 0": (
        lambda s: shifted(s, -50),
        "warning",
        "the background is -50, as the faces are, expected 0: name the background in a YAML file",
    ),
    "z-scored, background constant": (
        lambda s: zscored(s, lambda a: -3.6),
        "warning",
        "negative, as in images that were normalised before; what is not -3.6, as the faces are, is head",
    ),
    "z-scored, background 0": (
        lambda s: zscored(s, lambda a: 0),
        "warning",
        "negative, as in images that were normalised before; what is not 0, as the faces are, is head",
    ),
    "z-scored, no background": (
        lambda s: zscored(s, noise),
        "error",
        "and no common value at the faces, so that head and background are alike: name mask, background or",
    ),
    "one voxel of 1e9": (
        lambda s: s.change("t1", put(1e9)),
        "error",
        "found 1 voxels, up to 1e+09, that decide the z-score alone: mend the file, or clip them (normalise:",
    ),
    "voxels without size": (
        lambda s: s.raw("t1", lambda raw: _with_fields(raw, {"pixdim": [1, 1, 0, 1, 0, 0, 0, 0]})),
        "error",
        "found voxels of 1x0x1 mm, expected a size: export the file again",
    ),
    "voxels of a denormal size, which some processors take for 0": (
        lambda s: s.raw("t1", lambda raw: _with_fields(raw, {"pixdim": [1, 1, 1e-40, 1, 0, 0, 0, 0]})),
        "error",
        "found voxels of 1x",
    ),
    "qform and sform apart": (
        header(qform_code=1, qoffset_x=30),
        "warning",
        "qform, or pixdim, and sform of the header disagree by 30 mm: sform is used here",
    ),
    "pixdim and sform apart": (
        header(qform_code=0, pixdim=[1, 1, 1, 1.5, 0, 0, 0, 0]),
        "warning",
        "qform, or pixdim, and sform of the header disagree by 3.5 mm",
    ),
    "orientation not said": (
        header(qform_code=0, sform_code=0),
        "warning",
        "the header does not say how the head lies (the codes of qform and sform are 0): it is taken as LPS",
    ),
    "fourth dimension of one": (
        lambda s: s.change("t1", lambda a, m: (a[..., None], m)),
        None,
        "no problems",
    ),
    "negative voxels": (lambda s: s.change("t1", put(-3)), "warning", "found 1 negative voxels, down to -3"),
    "contrast twice": (
        lambda s: shutil.copy(s.paths["t1"], s.paths["t2"]),
        "error",
        "the same voxels as modality t1, expected another contrast: replace it",
    ),
    "duplicate patient": (same_patient, "error", "the same flair voxels as case 'one', expected another"),
    "same case in two folders": (
        two_grades,
        "error",
        "found 2 cases of this name (in HGG/one, LGG/one), expected one: rename or remove",
    ),
    "packed and unpacked": (
        lambda s: write_image(s.root / "one" / "one_t1.nii", np.ones((2, 2, 2))),
        "error",
        "found both one_t1.nii.gz and one_t1.nii, expected one: remove the other",
    ),
    "unexpected label": (
        lambda s: s.change("label", put(3)),
        "error",
        "found label 3.0 (1 voxels), expected 0, 1, 2, 4: map them to these, or choose another --dataset",
    ),
    "labels not quite whole": (
        lambda s: s.change("label", lambda a, m: (np.where(a == 4, 3.9999998, a), m)),
        "error",
        "expected 0, 1, 2, 4: round them and save them as whole numbers",
    ),
    "NaN label": (lambda s: s.change("label", put(np.nan)), "error", "infinite voxels, expected labels"),
    "nothing labelled": (lambda s: s.change("label", fill(0)), "note", "found no labelled voxel, expected"),
    "label outside the brain": (
        lambda s: s.change("label", lambda a, m: (np.concatenate([a[1:], a[:1] + 1]), m)),
        "warning",
        "labelled voxels outside the brain (all modalities are 0), expected none: look at",
    ),
    "big-endian files": (big_endian, None, "no problems"),
    "bytes of integers swapped": (
        lambda s: swapped_voxels(s, np.int16),
        "error",
        "the bytes of the voxels are in the wrong order for what the header says: export the file again",
    ),
    "bytes of floats swapped": (
        lambda s: swapped_voxels(s, np.float32),
        "error",
        "NaN or infinite voxels|the bytes of the voxels are in the wrong order",
    ),
    "bytes of labels swapped": (
        lambda s: s.change("label", lambda a, m: (a.byteswap(), m)),
        "error",
        "found label 256 ",
    ),
    "bytes of the header swapped": (
        lambda s: s.raw("t1", swapped_dimensions),
        "error",
        "damaged NIfTI header (its bytes are in two orders): copy it again",
    ),
    "spaces in a file name": (
        lambda s: s.paths["t1"].rename(s.root / "one" / "one t1.nii.gz"),
        "note",
        "modality t1 is missing (found also one t1.nii.gz: rename it?)",
    ),
    "spaces and other letters in case names": (letters, None, "no problems"),
    "case name that leaves the folder": (leaves_the_folder, "error", "expected the plain name of a folder"),
    "empty case folder": (mixed, "error", "found no modality, expected one of"),
    "link that is a loop, of a case": (
        lambda s: (s.root / "three").symlink_to(s.root / "three"),
        "error",
        "the folder cannot be read (Too many levels of symbolic links): mend the link",
    ),
    "link that is a loop, of a file": (
        loop_file,
        "error",
        "cannot be read (Too many levels of symbolic links): check file and permissions",
    ),
    "link that leads nowhere": (
        lambda s: (s.root / "three").symlink_to(s.root / "nowhere"),
        "error",
        "the folder cannot be read (No such file or directory): mend the link",
    ),
    "link that is a loop, of the study": (as_loop, "refused", "study cannot be read (Too many levels"),
    "empty folder": (emptied, "refused", "is no study: expected <case>/<case>_{flair,t1ce,t1,t2,seg}.nii"),
    "no folder": (lambda s: shutil.rmtree(s.root), "refused", "study cannot be read (No such file"),
    "folder of one case": (without_folders, "refused", "one holds NIfTI files itself, expected <case>/"),
    "another dataset's study": (
        lambda s: (s.again(MYOPS2020), setattr(s, "dataset", "brats2023")),
        "refused",
        "is no study: expected <case>/<case>-{t2f,t1c,t1n,t2w,seg}.nii.gz in it",
    ),
}  # fmt: skip


def bench(*arguments):
    """Run the program: exit code, standard output, lines of standard error."""
    result = bench_program.bench(*arguments)
    assert "Traceback" not in result.stdout + result.stderr
    return result.returncode, result.stdout, result.stderr.splitlines()


def says(text, expected):
    return any(part in text for part in expected.split("|"))


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_has_its_own_message_and_leaves_nothing(tmp_path, kind):
    spoil, severity, message = KINDS[kind]
    study = Broken(tmp_path / "study")
    study.paths = write_study(study.root, BRATS2020)["one"]
    spoil(study)
    before = sorted(tmp_path.iterdir())

    code, out, errors = bench("data", "check", study.root, "--dataset", study.dataset, "--json")
    if severity == "refused":
        assert code == 2
        assert len(errors) == 1
        assert says(errors[0], message)
    else:
        problems = json.loads(out)["problems"]
        worst = max((SEVERITIES.index(p["severity"]) for p in problems), default=0)
        assert code == worst
        if severity:
            assert SEVERITIES[worst] == severity
            texts = [p["message"] for p in problems if p["severity"] == severity]
            assert any(says(text, message) for text in texts), texts
            assert all(text.isprintable() for text in texts)
        else:
            assert problems == []

    out_folder = tmp_path / "deep" / "store"
    code, _, errors = bench("data", "prepare", study.root, "--dataset", study.dataset, "--out", out_folder)
    if severity in ("error", "refused"):
        assert code == 2
        assert len(errors) == 1
        assert errors[0].startswith("error: ")
        assert not (out_folder / "store.json").exists()
        assert not list(tmp_path.rglob(".partial"))
        assert severity == "error" or not out_folder.exists()
    else:
        assert code == 0, errors
        assert all(not Store.open(out_folder).damaged(case) for case in Store.open(out_folder).cases)
    assert [path for path in sorted(tmp_path.iterdir()) if path.name != "deep"] == before


def test_the_messages_tell_the_kinds_apart():
    messages = [message for _, severity, message in KINDS.values() if severity]
    assert len(messages) == len(set(messages)) >= 25


def test_big_endian_voxels_are_read_right(tmp_path):
    study = Broken(tmp_path / "study")
    study.paths = write_study(study.root, BRATS2020)["one"]
    little = prepare(study.root, BRATS2020, tmp_path / "little")
    big_endian(study)
    assert prepare(study.root, BRATS2020, tmp_path / "big").hash == little.hash


def test_the_table_names_every_problem(tmp_path):
    study = Broken(tmp_path / "study")
    study.paths = write_study(study.root, BRATS2020)["one"]
    study.paths["t1"].unlink()
    study.change("t2", put(-1))
    code, out, _ = bench("data", "check", study.root)
    assert code == 1
    assert "one_t1.nii.gz" in out
    assert "negative voxels" in out
    assert "brats2020: 2 cases of 2 patients; cases with flair 2, t1ce 2, t1 1, t2 2" in out
    assert "1 warning, 1 note" in out
