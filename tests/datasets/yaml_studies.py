"""Studies that YAML files describe, laid out as two that are handed out: `wmh_2017(folder)`, `MSSEG`."""

from nifti_study import write_case

from datasets.studies.from_yaml import read_description

WMH = """\
modalities:
  flair: ["{site}/{case}/pre/FLAIR.nii.gz", "{site}/{scanner}/{case}/pre/FLAIR.nii.gz"]
  t1: ["{site}/{case}/pre/T1.nii.gz", "{site}/{scanner}/{case}/pre/T1.nii.gz"]
label: ["{site}/{case}/wmh.nii.gz", "{site}/{scanner}/{case}/wmh.nii.gz"]
labels: {wmh: 1}
regions: {wmh: wmh}
"""
MSSEG = """\
modalities:
  flair: "{center}/{case}/FLAIR.nii.gz"
  t1: "{center}/{case}/T1.nii.gz"
label: "{center}/{case}/Masks/Consensus.nii.gz"
labels: {lesion: 1}
regions: {lesion: lesion}
"""


def described(folder, text):
    (folder / "mine.yaml").write_text(text, encoding="utf-8")
    return read_description(folder / "mine.yaml")


def wmh_2017(folder):
    """Its description with both layouts, and its study: one site nests its scanners deeper."""
    description = described(folder, WMH)
    for case, site in (("0", "Utrecht"), ("50", "Singapore")):
        write_case(folder / "study", description, case, site=site)
    write_case(folder / "study", description, "100", layout=1, site="Amsterdam", scanner="GE3T")
    return description
