"""Parameters that a network starts from: those of a registered network, or of a file of tensors."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from keyfold.core.digests import file_digest
from keyfold.errors import ConfError, DataError
from keyfold.features.spec import Spec
from keyfold.models.torch import Start
from keyfold.tracking import registry, tags

if TYPE_CHECKING:
    from torch import Tensor, nn

    from keyfold.tracking.registry import Registered


TABLES = ("table.weight", "wide.weight")  # parameters with a row for each index


class StartParameters(NamedTuple):
    """Source of the parameters: a registered version, else a file. `name` is for display, `digest` that of the bytes."""

    name: str
    digest: str
    version: "Registered | None" = None


def find_start(start: Start) -> StartParameters:
    """Resolves the section `start` (ConfError if there is no such file, DataError if there is no such version)."""
    if start.file is not None:
        if not Path(start.file).is_file():
            raise ConfError(f"train.model.torch.start.file: there is no file `{start.file}` (seen from {Path.cwd()})")
        return StartParameters(start.file, file_digest(start.file))
    name = str(start.model).removeprefix("models:/")
    version = registry.find_version(f"models:/{name}" if "/" in name or "@" in name else f"models:/{name}@{registry.CHAMPION}")
    return StartParameters(str(version), version.tags.get(tags.MANIFEST, ""), version)


def start_tensors(
    start: Start, parameters: StartParameters, module: "nn.Module", spec: Spec
) -> "tuple[dict[str, Tensor], list[str]]":
    """The tensors to start from by the network's own names, and the names of those that stay as initialised.

    Raises DataError if the other network's indices stand for other values, or if none of its tensors fits.
    """
    source = _read_file(start) if parameters.version is None else _read_version(parameters.version, spec)
    prefix = f"{start.into}." if start.into else ""
    own = module.state_dict()
    source = {prefix + str(name): tensor.detach() for name, tensor in source.items() if hasattr(tensor, "detach")}
    fitting = {
        name: tensor.to(own[name].dtype) for name, tensor in source.items()
        if name in own and own[name].shape == tensor.shape and not (start.output == "fresh" and name.startswith("output."))
    }  # fmt: skip
    if not fitting:
        raise DataError(
            f"train.model.torch.start: no tensor of {parameters.name} fits this network by name and shape; it has "
            f"{', '.join(list(source)[:3])} …, and the network {', '.join(list(own)[:3])} … (`into` names the part that they are for)"
        )
    return fitting, [name for name in own if name not in fitting]


def _read_file(start: Start) -> "dict[str, Tensor]":
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = str(start.file)
    try:
        # With `weights_only` torch loads tensors alone, and runs no code of the file.
        tensors = load_file(path) if path.endswith(".safetensors") else torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, SafetensorError, EOFError, KeyError) as error:
        raise DataError(f"{path} has no readable tensors: {str(error).partition(chr(10))[0][:200]}") from error
    except Exception as error:  # pickle's own error for an object that is not a tensor
        raise DataError(f"{path} holds more than tensors, so it is not loaded: {type(error).__name__}") from error
    if not isinstance(tensors, dict):
        raise DataError(f"{path} must have tensors by name (got {type(tensors).__name__})")
    return tensors


def _read_version(version: "Registered", spec: Spec) -> "dict[str, Tensor]":
    from safetensors.torch import load_file

    with tempfile.TemporaryDirectory() as folder:
        path = registry.fetch_model(version, Path(folder))
        if not (path / "network.safetensors").is_file():
            raise DataError(f"{version} is not a network, so it has no tensors to start from")
        other = Spec.from_json((path / "spec.json").read_text("utf-8"))
        _check_indices(version, spec, other)
        tensors = load_file(path / "network.safetensors")
        if _index_features(spec) != _index_features(other):  # a table has the rows of one feature after those of another
            tensors = {name: tensor for name, tensor in tensors.items() if not name.endswith(TABLES)}
        return {name: tensor.clone() for name, tensor in tensors.items()}


def _check_indices(version: "Registered", spec: Spec, other: Spec) -> None:
    for name in spec.features.keys() & other.features.keys():
        if spec.outs[name].type == "int" and _definition(spec, name) != _definition(other, name):
            raise DataError(
                f"train.model.torch.start: feature `{name}` is not defined as in {version}, so its indices stand for other values; "
                "hash it in both, with the same buckets, or give it another name here"
            )


def _index_features(spec: Spec) -> list[tuple[str, Any]]:
    return [(name, _definition(spec, name)) for name, out in spec.outs.items() if out.type == "int"]


def _definition(spec: Spec, name: str) -> Any:
    kind, state = spec.features[name]
    return kind.model_dump(mode="json"), state
