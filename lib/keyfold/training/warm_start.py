"""Parameters that a training begins with: of a registered network, or of a file of tensors."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from keyfold.core.digests import file_digest
from keyfold.errors import ConfError, DataError
from keyfold.features.spec import Spec
from keyfold.models.torch import Start
from keyfold.tracking import registry

if TYPE_CHECKING:
    from torch import Tensor, nn

    from keyfold.tracking.registry import Registered


TABLES = ("table.weight", "wide.weight")  # whose rows indices name


class StartParameters(NamedTuple):
    """Where the parameters are: a registered version, or a file; `name` for a person, `digest` of the bytes."""

    name: str
    digest: str
    version: "Registered | None" = None


def find_start(start: Start) -> StartParameters:
    """What the conf means, as it is now (ConfError, DataError)."""
    if start.file is not None:
        if not Path(start.file).is_file():
            raise ConfError(f"train.model.torch.start.file: there is no file `{start.file}` (seen from {Path.cwd()})")
        return StartParameters(start.file, file_digest(start.file))
    name = str(start.model).removeprefix("models:/")
    version = registry.find_version(f"models:/{name}" if "/" in name or "@" in name else f"models:/{name}@{registry.CHAMPION}")
    return StartParameters(str(version), version.tags.get("keyfold.manifest", ""), version)


def start_tensors(start: Start, at: StartParameters, module: "nn.Module", spec: Spec) -> "tuple[dict[str, Tensor], list[str]]":
    """By the network's own names the tensors to begin with; and the names that stay as they are.

    DataError where indices of the other network mean other values, or where it has no tensor that fits.
    """
    given = _of_file(start) if at.version is None else _of_version(at.version, spec)
    under = f"{start.into}." if start.into else ""
    own = module.state_dict()
    given = {under + str(name): tensor.detach() for name, tensor in given.items() if hasattr(tensor, "detach")}
    taken = {
        name: tensor.to(own[name].dtype) for name, tensor in given.items()
        if name in own and own[name].shape == tensor.shape and not (start.output == "fresh" and name.startswith("output."))
    }  # fmt: skip
    if not taken:
        raise DataError(
            f"train.model.torch.start: no tensor of {at.name} fits this network by name and shape; it has {', '.join(list(given)[:3])} …, "
            f"and the network {', '.join(list(own)[:3])} … (`into` names the part that they are for)"
        )
    return taken, [name for name in own if name not in taken]


def _of_file(start: Start) -> "dict[str, Tensor]":
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = str(start.file)
    try:
        # torch's own loader with `weights_only` makes tensors alone, whatever the file would run.
        found = load_file(path) if path.endswith(".safetensors") else torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, SafetensorError, EOFError, KeyError) as error:
        raise DataError(f"{path} has no tensors that can be read: {str(error).partition(chr(10))[0][:200]}") from error
    except Exception as error:  # pickle's own, of what is no tensor
        raise DataError(f"{path} holds more than tensors, and is not read: {type(error).__name__}") from error
    if not isinstance(found, dict):
        raise DataError(f"{path} must have tensors by name (got {type(found).__name__})")
    return found


def _of_version(version: "Registered", spec: Spec) -> "dict[str, Tensor]":
    from safetensors.torch import load_file

    with tempfile.TemporaryDirectory() as folder:
        at = registry.fetch_model(version, Path(folder))
        if not (at / "network.safetensors").is_file():
            raise DataError(f"{version} is no network, so it has no tensors to begin with")
        other = Spec.from_json((at / "spec.json").read_text("utf-8"))
        for name in spec.features.keys() & other.features.keys():
            if spec.outs[name].type == "int" and _said(spec, name) != _said(other, name):
                raise DataError(
                    f"train.model.torch.start: feature `{name}` is not made as that of {version}, so its indices mean other values; "
                    "hash it in both, with the same buckets, or give it another name here"
                )
        found = load_file(at / "network.safetensors")
        if _indices(spec) != _indices(other):  # a table has the rows of one feature after those of another
            found = {name: tensor for name, tensor in found.items() if not name.endswith(TABLES)}
        return {name: tensor.clone() for name, tensor in found.items()}


def _indices(spec: Spec) -> list[tuple[str, Any]]:
    return [(name, _said(spec, name)) for name, out in spec.outs.items() if out.type == "int"]


def _said(spec: Spec, name: str) -> Any:
    kind, state = spec.features[name]
    return kind.model_dump(mode="json"), state
