"""Tensors of a file as the start of a network."""

import pytest
import torch

from keyfold.errors import ConfError, DataError
from keyfold.models.torch import Start
from keyfold.training import warm_start
from small_networks import conf_of


def test_tensors_of_a_file_go_where_they_are_for(data, tmp_path):
    from safetensors.torch import save_file

    module = conf_of("image").build(data["image"].train.layout, 7)
    other = conf_of("image").build(data["image"].train.layout, 8)
    apart = {key.removeprefix("image."): t for key, t in other.state_dict().items() if key.startswith("image.")}
    save_file(apart | {"net.0.bias": torch.zeros(99)}, tmp_path / "some.safetensors")
    halves = {key: torch.nn.Parameter(t.to(torch.bfloat16)) for key, t in other.state_dict().items()}
    torch.save(halves | {"epoch": 3}, tmp_path / "some.pth")
    torch.save(torch.ones(2), tmp_path / "one.pth")

    def taken(**given):
        conf = Start(**given)
        return warm_start.start_tensors(conf, warm_start.find_start(conf), module, None)

    some, fresh = taken(file=str(tmp_path / "some.safetensors"), into="image")
    assert set(some) == {key for key in module.state_dict() if key.startswith("image.")} - {"image.net.0.bias"}
    assert "image.net.0.bias" in fresh and torch.equal(some["image.net.0.weight"], other.state_dict()["image.net.0.weight"])
    assert taken(file=str(tmp_path / "some.pth"))[1] == ["output.weight", "output.bias"]
    assert taken(file=str(tmp_path / "some.pth"), output="same")[1] == []
    with pytest.raises(DataError, match=r"no tensor of .*some.safetensors fits this network .*`into` names the part"):
        taken(file=str(tmp_path / "some.safetensors"))
    found = taken(file=str(tmp_path / "some.pth"))[0]
    assert all(t.dtype == torch.float32 and not t.requires_grad for t in found.values())
    with pytest.raises(DataError, match=r"one.pth must have tensors by name \(got Tensor\)"):
        taken(file=str(tmp_path / "one.pth"))
    with pytest.raises(ConfError, match=r"start.file: there is no file `gone.pth`"):
        taken(file="gone.pth")

    class Runs:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    torch.save({"a": Runs()}, tmp_path / "evil.pth")
    with pytest.raises(DataError, match=r"evil.pth "):
        taken(file=str(tmp_path / "evil.pth"))
    assert not (tmp_path / "ran").exists()
