"""Checkpoints: complete or absent, damage named, only wanted ones kept."""

import json

import pytest
import torch
from toy import ToyTask
from transformers import BertForMaskedLM

from genomelm_utils.training import checkpoint as ckpt


@pytest.fixture
def saved(tmp_path):
    task = ToyTask()
    return task, ckpt.save_checkpoint(tmp_path, 500, task, {"history": [{"step": 1}]})


def test_layout_is_hugging_face(saved, tmp_path):
    task, path = saved
    assert path == tmp_path / "checkpoints" / "step-00000500"
    names = {item.name for item in path.iterdir()}
    assert names >= {"config.json", "model.safetensors", "training_state.pt", "checkpoint.json"}
    loaded = BertForMaskedLM.from_pretrained(path)
    for name, value in task.model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value)
    manifest = json.loads((path / "checkpoint.json").read_text())
    assert manifest["step"] == 500
    assert set(manifest["sha256"]) == names - {"checkpoint.json"}


def test_parameters_outside_the_model_come_back(saved):
    task, path = saved
    other = ToyTask(seed=8)
    other.scale.data.fill_(7.0)
    ckpt.load_weights(path, other, ckpt.read_state(path))
    for name, value in task.state_dict().items():
        assert torch.equal(other.state_dict()[name], value)


def test_a_task_writes_its_own_files_beside_the_model(tmp_path):
    task = ToyTask()
    task.save_beside = lambda folder: (folder / "head.txt").write_text("for other programs")
    path = ckpt.save_checkpoint(tmp_path, 1, task, {})
    assert (path / "head.txt").read_text() == "for other programs"
    assert "head.txt" in json.loads((path / "checkpoint.json").read_text())["sha256"]


@pytest.mark.parametrize("name", ["model.safetensors", "training_state.pt", "config.json"])
def test_damage_is_named_with_both_hashes_and_a_remedy(saved, name):
    _, path = saved
    expected = ckpt.hash_file(path / name)
    with (path / name).open("r+b") as stream:
        stream.seek(10)
        stream.write(b"\x00\x01")
    found = ckpt.hash_file(path / name)
    with pytest.raises(ValueError, match=f"{name} is damaged.*{expected}.*{found}.*take another"):
        ckpt.read_state(path)


def test_truncated_and_missing_files(saved):
    _, path = saved
    (path / "model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"model.safetensors is damaged.*no such file"):
        ckpt.verify_checkpoint(path)
    (path / "checkpoint.json").write_text('{"step": ')
    with pytest.raises(ValueError, match=r"checkpoint\.json is missing or unreadable"):
        ckpt.verify_checkpoint(path)


def test_only_the_newest_and_the_best_are_kept(tmp_path):
    for step in (1, 2, 3, 4):
        ckpt.checkpoint_dir(tmp_path, step).mkdir(parents=True)
    ckpt.prune_checkpoints(tmp_path, keep=2, best_step=1)
    assert list(ckpt.list_checkpoints(tmp_path)) == [1, 3, 4]


def test_write_folder_is_all_or_nothing(tmp_path):
    target = tmp_path / "final"
    with ckpt.write_folder(target) as partial:
        (partial / "a").write_text("first")
    with pytest.raises(RuntimeError), ckpt.write_folder(target) as partial:
        (partial / "a").write_text("second")
        raise RuntimeError
    assert (target / "a").read_text() == "first"
    with ckpt.write_folder(target) as partial:
        (partial / "b").write_text("third")
    assert [item.name for item in tmp_path.rglob("*")] == ["final", "b"]


def test_half_written_checkpoints_are_invisible_and_cleared(tmp_path):
    partial = ckpt.checkpoints_dir(tmp_path) / ".partial-step-00000004-123"
    partial.mkdir(parents=True)
    assert ckpt.list_checkpoints(tmp_path) == {}
    ckpt.clear_partial(tmp_path)
    assert not partial.exists()


def test_settings_that_differ_are_listed():
    ckpt.check_settings({"a": 1}, {"a": 1}, "here")
    with pytest.raises(ValueError, match="a: saved 1, now 2; b: saved 'nothing', now 3"):
        ckpt.check_settings({"a": 1}, {"a": 2, "b": 3}, "here")
