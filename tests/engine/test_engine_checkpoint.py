import datetime

import pytest
import torch
from torch import nn

from bccd.atomic_files import write_atomically
from bccd.engine.checkpoint import BCCDCheckpointer, read_checkpoint
from bccd.engine.ema import ModelEMA


class Head(nn.Module):
    def __init__(self, num_classes=3):
        super().__init__()
        self.num_classes = num_classes
        self.body = nn.Linear(2, 4)
        self.cls_score = nn.Linear(4, 2 * (num_classes + 1))  # 2 anchors, background


def test_crash_while_writing_leaves_the_previous_checkpoint(tmp_path, monkeypatch):
    model = Head()
    checkpointer = BCCDCheckpointer(model, str(tmp_path))
    checkpointer.save("model_0000000")
    checkpointer.save("model_final")
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    original = torch.save

    def save_half(data, stream):
        original(data, stream)
        stream.truncate(100)
        raise OSError("no space left on device")

    monkeypatch.setattr(torch, "save", save_half)
    nn.init.zeros_(model.body.weight)
    for name in ("model_final", "model_0000001"):
        with pytest.raises(OSError, match="no space left"):
            checkpointer.save(name)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
    assert checkpointer.get_checkpoint_file() == str(tmp_path / "model_final.pth")
    assert torch.equal(
        read_checkpoint(tmp_path / "model_final.pth")["model"]["body.bias"], model.body.bias
    )


def test_last_checkpoint_is_named_after_the_file_is_whole(tmp_path, monkeypatch):
    order = []
    monkeypatch.setattr(
        "bccd.engine.checkpoint.os.replace", lambda source, target: order.append(target.name)
    )
    BCCDCheckpointer(Head(), str(tmp_path)).save("model_final")
    assert order == ["model_final.pth", "last_checkpoint"]


def test_write_atomically_replaces(tmp_path):
    for text in (b"first", b"second"):
        write_atomically(tmp_path / "file", lambda stream, text=text: stream.write(text))
        assert (tmp_path / "file").read_bytes() == text
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


def test_averaged_weights_are_deployed_and_raw_ones_resumed(tmp_path):
    model = Head()
    ema = ModelEMA(model, 0.9, 1)
    ema.update(model)
    averaged = model.body.weight.detach().clone()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with torch.no_grad():
        model.body.weight += 1
    raw = model.body.weight.detach().clone()
    BCCDCheckpointer(model, str(tmp_path), ema=ema, optimizer=optimizer).save("model_final")

    deployed = Head()
    BCCDCheckpointer(deployed).load(str(tmp_path / "model_final.pth"))
    assert torch.equal(deployed.body.weight, averaged)

    model = Head()
    ema = ModelEMA(model, 0.9, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    checkpointer = BCCDCheckpointer(model, str(tmp_path), ema=ema, optimizer=optimizer)
    checkpointer.resume_or_load("", resume=True)
    assert torch.equal(model.body.weight, raw)
    assert torch.equal(ema.module.body.weight, averaged)
    assert ema.state_dict() == {"updates": 1}

    # Fine-tuning starts from the deployed weights.
    checkpointer.resume_or_load(str(tmp_path / "model_final.pth"), resume=False)
    assert torch.equal(model.body.weight, averaged)


def test_shape_mismatch_names_key_shapes_and_classes(tmp_path):
    BCCDCheckpointer(Head(80), str(tmp_path)).save("coco")
    path = str(tmp_path / "coco.pth")
    with pytest.raises(ValueError) as error:
        BCCDCheckpointer(Head(3)).load(path)
    message = str(error.value)
    assert path in message and "MODEL.REINIT_MISMATCHED" in message
    assert (
        "cls_score.weight: (162, 4) in the checkpoint, (8, 4) in the model "
        "(80 classes in the checkpoint, 3 in the model)"
    ) in message
    assert "body" not in message

    model = Head(3)
    initial = model.cls_score.weight.detach().clone()
    BCCDCheckpointer(model, reinit_mismatched=True).load(path)
    assert torch.equal(model.cls_score.weight, initial)
    assert torch.equal(model.body.weight, read_checkpoint(path)["model"]["body.weight"])


def test_missing_weights_are_an_error_where_all_are_needed(tmp_path):
    torch.save({"model": {"body.weight": torch.zeros(4, 2)}}, tmp_path / "part.pth")
    path = str(tmp_path / "part.pth")
    BCCDCheckpointer(Head()).load(path)
    with pytest.raises(ValueError, match=r"part\.pth.*body\.bias, cls_score\.bias, cls_score\.w"):
        BCCDCheckpointer(Head(), require_all=True).load(path)


def test_missing_file_names_path_and_remedy(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.pth.*MODEL\.WEIGHTS"):
        BCCDCheckpointer(Head()).load(str(tmp_path / "nowhere.pth"))
    (tmp_path / "last_checkpoint").write_text("model_0000009.pth")
    with pytest.raises(FileNotFoundError, match=r"model_0000009\.pth.*last_checkpoint"):
        BCCDCheckpointer(Head(), str(tmp_path)).resume_or_load("", resume=True)


@pytest.mark.parametrize("damage", ["cut", "text", "empty"])
def test_damaged_file(tmp_path, damage):
    path = tmp_path / "model.pth"
    torch.save({"model": Head().state_dict()}, path)
    content = {"cut": path.read_bytes()[:1000], "text": b"not found", "empty": b""}[damage]
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"model\.pth cannot be read.*damaged"):
        BCCDCheckpointer(Head()).load(str(path))


def test_python_objects_are_refused_with_the_remedy(tmp_path):
    path = tmp_path / "model.pth"
    torch.save({"model": Head().state_dict(), "when": datetime.date(2020, 1, 1)}, path)
    with pytest.raises(ValueError, match=r"model\.pth holds Python objects.*weights_only=False"):
        BCCDCheckpointer(Head()).load(str(path))


def test_bare_state_dict_loads(tmp_path):
    source, model = Head(), Head()
    torch.save(source.state_dict(), tmp_path / "bare.pth")
    BCCDCheckpointer(model, require_all=True).load(str(tmp_path / "bare.pth"))
    assert torch.equal(model.body.weight, source.body.weight)
