"""The environment table: what is required fails with a remedy, what is optional is only noted."""

import sys
import types

import pandas as pd
import pytest
import torch
from packaging.requirements import Requirement

from genomelm_utils import paths
from genomelm_utils.motifs import modisco, rgadem
from genomelm_utils.pipeline import environment
from genomelm_utils.pipeline.environment import (
    PACKAGES,
    check_data,
    check_device,
    check_environment,
    check_modisco,
    check_packages,
    check_rgadem,
    describe_failures,
    row,
)


def test_a_line_has_a_remedy_only_where_it_is_needed():
    assert row("R", True, "found", "install R") == {
        "status": "[OK]", "check": "R", "found": "found", "fix": "",
    }  # fmt: skip
    assert [row("R", ok, "no", "install R")["status"] for ok in (True, False, None)] == [
        "[OK]",
        "[FAIL]",
        "[--]",
    ]
    assert row("R", None, "no", "install R")["fix"] == "install R"


def test_every_package_is_pinned():
    lines = (paths.ROOT / "constraints.txt").read_text().splitlines()
    pinned = {Requirement(line).name.lower().replace("_", "-") for line in lines}
    assert set(PACKAGES.split()) <= pinned


def test_a_missing_package_fails_with_the_command(monkeypatch):
    monkeypatch.setattr(environment, "PACKAGES", "numpy no-such-package-here")
    found, missing = check_packages()
    assert (found["status"], missing["status"], missing["found"]) == ("[OK]", "[FAIL]", "missing")
    assert "make setup" in missing["fix"]


def test_device_without_cuda_fails_only_where_one_is_required(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert check_device(False)["status"] == "[OK]"
    required = check_device(True)
    assert required["status"] == "[FAIL]"
    assert "no CUDA device" in required["found"]
    assert "set require_gpu to false" in required["fix"]


def test_device_with_cuda_is_described(monkeypatch):
    device = types.SimpleNamespace(name="Some GPU", total_memory=80 * 2**30)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: device)
    for has_bf16, text in ((True, "bf16"), (False, "no bf16")):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda answer=has_bf16: answer)
        assert check_device(True)["found"] == f"Some GPU, 80 GiB, {text}"


def test_data_folder_is_counted_or_named(tmp_path, monkeypatch):
    monkeypatch.delenv("GENOMELM_DATA", raising=False)
    assert (check_data()["status"], check_data()["found"]) == ("[--]", "not set")
    monkeypatch.setenv("GENOMELM_DATA", str(tmp_path / "mising"))
    assert check_data()["status"] == "[FAIL]"
    assert check_data()["found"] == "mising: no such folder"
    (tmp_path / "a").mkdir()
    for name in ("a/x.tsv", "y.tsv"):
        (tmp_path / name).write_text("x")
    monkeypatch.setenv("GENOMELM_DATA", str(tmp_path))
    assert (check_data()["status"], check_data()["found"]) == ("[OK]", "2 files")


@pytest.mark.parametrize(
    ("missing", "status", "found", "fix"),
    [
        (None, "[OK]", "2.55.0", ""),
        ("rGADEM", "[--]", "no (rGADEM is missing)", "conda env create"),
        ("rpy2", "[--]", "no (rpy2 is missing)", "make r"),
    ],
)
def test_rgadem_is_optional(monkeypatch, missing, status, found, fix):
    def version(name):
        if missing:
            raise rgadem.MissingR(missing)
        return "2.55.0"

    monkeypatch.setattr(rgadem, "package_version", version)
    line = check_rgadem()
    assert (line["status"], line["found"]) == (status, found)
    assert line["fix"].startswith(fix)


@pytest.mark.parametrize("there", [True, False])
def test_modisco_is_optional(monkeypatch, there):
    monkeypatch.setattr(modisco, "is_installed", lambda: there)
    monkeypatch.setattr(environment.importlib.metadata, "version", lambda name: "2.2.1")
    line = check_modisco()
    assert line["check"].startswith("modisco-lite")
    found = ("[OK]", "2.2.1", "") if there else ("[--]", "no", modisco.INSTALL)
    assert (line["status"], line["found"], line["fix"]) == found


def test_table_has_one_line_per_check_and_no_empty_remedy():
    table = check_environment()
    assert list(table.columns) == ["status", "check", "found", "fix"]
    assert table["check"].is_unique
    assert {"Python", "CPU cores", "free disk", "device", *PACKAGES.split()} <= set(table["check"])
    assert ((table["fix"] == "") == (table["status"] == "[OK]")).all()
    python = table.set_index("check").loc["Python"]
    assert python["found"] == ".".join(map(str, sys.version_info[:3]))


@pytest.mark.parametrize(("version", "status"), [((3, 10), "[FAIL]"), ((3, 13), "[FAIL]")])
def test_other_pythons_fail(monkeypatch, version, status):
    monkeypatch.setattr(environment.sys, "version_info", version)
    assert check_environment()["status"].iloc[0] == status


def test_full_disk_fails(monkeypatch):
    usage = types.SimpleNamespace(free=2**30)
    monkeypatch.setattr(environment.shutil, "disk_usage", lambda _: usage)
    line = check_environment().set_index("check").loc["free disk"]
    assert (line["status"], line["found"], line["fix"]) == (
        "[FAIL]",
        "1.0 GiB",
        "free at least 2 GiB",
    )


def test_sentence_counts_what_passed_and_names_what_is_absent():
    rows = [row("a", True, "1"), row("b", True, "1"), row("R", None, "no", "install R")]
    text = describe_failures(pd.DataFrame(rows))
    assert text == "2 checks passed, none failed; optional and absent: R"
    assert describe_failures(pd.DataFrame(rows[:2])).endswith("absent: none")


def test_failures_stop_the_stage_and_all_are_named():
    rows = [
        row("a", True, "1"),
        row("numpy", False, "missing", "make setup"),
        row("device", False, "CPU", "use a GPU"),
    ]
    with pytest.raises(RuntimeError, match="this machine is not ready") as caught:
        describe_failures(pd.DataFrame(rows))
    assert "numpy: found missing; to mend it: make setup" in str(caught.value)
    assert "device: found CPU; to mend it: use a GPU" in str(caught.value)
