"""Registered models as members of a vote. They are fitted already, on features of their own, which the ensemble has under other names."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from pydantic import Field

from keyfold.core.arrays import Doubles
from keyfold.core.section import Section
from keyfold.errors import ConfError, DataError
from keyfold.features.kind import FeatureInput, Kind
from keyfold.features.spec import FeatureArrays, FittedFeature, Spec
from keyfold.labels import Label
from keyfold.models.member_fits import Fitted
from keyfold.models.prior import Corrected

MODEL_URI = r"^(models:/[^/@]+(@[\w-]+|/\d+)|runs:/\w+)$"


class RegisteredConf(Section):
    """A registered model, which was trained by another job."""

    model: str = Field(
        pattern=MODEL_URI,
        examples=["models:/churn@champion", "models:/churn/3"],
        description="The version, as models:/NAME@ALIAS, models:/NAME/VERSION or runs:/ID. An alias is resolved once, when training begins.",
    )

    @property
    def classifies(self) -> bool:
        """Unknown until it is read; ConfError, since such a model is not trained alone."""
        raise ConfError("a registered model is trained already")

    @property
    def parameters(self) -> dict[str, Any]:
        """Parameters for MLflow."""
        return {"registered": self.model}


class Pin(NamedTuple):
    """The version of a registered model: its name and number, and the digest of keyfold's own files."""

    name: str
    version: str
    digest: str

    def __str__(self) -> str:
        return f"{self.name} version {self.version}"


class Whole(Protocol):
    """A model with its features, label and calibration: `keyfold.models.model.Model`."""

    @property
    def spec(self) -> Spec:
        """The features."""

    @property
    def label(self) -> Label:
        """The label."""

    @property
    def estimator(self) -> Fitted:
        """What was fitted."""

    def numbers(self, arrays: FeatureArrays) -> Doubles:
        """What the model predicts as numbers: (n,) or (n, k)."""


class RegisteredMember(Corrected):
    """A registered model as a member with a name. Its features are those of the model, each under `<name>:<feature>`.

    files: those of the model's folder by path, which are kept as they are.
    """

    def __init__(self, name: str, model: Whole, pin: Pin, files: Mapping[str, bytes]) -> None:
        self.name, self.model, self.pin, self.files = name, model, pin, dict(files)
        self.spec = _renamed_spec(model.spec, prefix_of(name))

    @property
    def packages(self) -> tuple[str, ...]:
        """Packages that scoring needs besides those of keyfold."""
        return self.model.estimator.packages

    @property
    def facts(self) -> dict[str, Any]:
        """The name of the member and the version, as JSON."""
        return {"registered": self.name, "version": list(self.pin)}

    def uncorrected_numbers(self, arrays: FeatureArrays, label: Label) -> Doubles:
        """What the registered model answers for n rows, as numbers: (n,), or (n, k). Raises DataError for another label than its own."""
        if not label.same_question(self.model.label):
            raise DataError(f"{self.pin} answers another question than the label asks")
        prefix = prefix_of(self.name)
        return self.model.numbers({name: arrays[prefix + name] for name in self.model.spec.features})

    def save(self, folder: Path) -> None:
        """Writes the files of the registered model into a folder."""
        for path, content in self.files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)

    @classmethod
    def load(cls, folder: Path, model: Whole, facts: Mapping[str, Any]) -> "RegisteredMember":
        """The member, given the model of its folder."""
        return cls(facts["registered"], model, Pin(*facts["version"]), read_files(folder))


class JoinedSpec(Spec):
    """The features of a conf, `own`, and those of the registered members of its vote, by name."""

    def __init__(self, own: Spec, members: Mapping[str, RegisteredMember]) -> None:
        self.own, self.members = own, dict(members)
        inputs, features = dict(own.inputs), dict(own.features)
        for member in self.members.values():
            inputs |= member.spec.inputs
            features |= member.spec.features
        super().__init__(inputs, features)

    def only(self, names: Iterable[str]) -> "JoinedSpec":
        """Only some of the own features; registered members keep all of theirs."""
        return JoinedSpec(self.own.only(name for name in names if name in self.own.features), self.members)

    def out_of_fold(self, part: str) -> Spec:
        """As `Spec.out_of_fold`. Registered members are not fitted, so theirs are those for scoring."""
        own = self.own.out_of_fold(part)
        return Spec(
            own.inputs | self.inputs, own.features | {name: of for name, of in self.features.items() if name not in own.features}
        )


def prefix_of(member: str) -> str:
    """What begins the names of a registered member's features."""
    return f"{member}:"


def registered_members(spec: Spec) -> dict[str, RegisteredMember]:
    """The registered members of a vote by name, by the spec that it is fitted with."""
    return spec.members if isinstance(spec, JoinedSpec) else {}


def own_spec(spec: Spec, members: Iterable[str]) -> Spec:
    """The features of an ensemble that are not those of its registered members."""
    if isinstance(spec, JoinedSpec):
        return spec.own
    prefixes = tuple(map(prefix_of, members))
    return spec.only(name for name in spec.features if not name.startswith(prefixes)) if prefixes else spec


def read_files(folder: Path) -> dict[str, bytes]:
    """The files below a folder, by path."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def _renamed_spec(spec: Spec, prefix: str) -> Spec:
    features = {
        prefix + name: FittedFeature(_renamed_inputs(kind, prefix), state) for name, (kind, state) in spec.features.items()
    }
    return Spec(spec.inputs, features)


def _renamed_inputs(kind: Kind, prefix: str) -> Kind:
    """The kind with other names of the features that it takes."""
    fields = {name: getattr(kind, name) for name in type(kind).model_fields}
    return type(kind).model_validate({name: _renamed(value, prefix) for name, value in fields.items()})


def _renamed(value: Any, prefix: str) -> Any:
    if isinstance(value, list):
        return [_renamed(one, prefix) for one in value]
    return FeatureInput(feature=prefix + value.feature) if isinstance(value, FeatureInput) else value
