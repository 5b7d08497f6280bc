"""The files of a source, Delta tables and generators included: their names, sizes and digests as they are now."""

import glob
import os
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from keyfold.conf.file_period import FilePeriod
from keyfold.conf.versions import LayoutVersion
from keyfold.core.digests import digest, file_digest
from keyfold.engine.engine import Engine
from keyfold.engine.spark_files import list_files
from keyfold.errors import ConfError, DataError, duplicates
from keyfold.ingestion import delta_versions, sources
from keyfold.readers import paths
from keyfold.readers.formats import format_of
from keyfold.runtime import job_identity

if TYPE_CHECKING:
    from keyfold.conf.data import Data
    from keyfold.conf.use_case import Conf

# By name: `size` in bytes and `digest`.
Files = dict[str, dict[str, Any]]
Stamps = dict[str, tuple[int, int]]  # by name


def current_files(engine: Engine, data: "Data") -> Files:
    """The files of a source (ConfError, DataError). Digests cover the values that rows take from the file's path: period and folder columns."""
    if data.versions:
        files: Files = {}
        for file in layout_files(data):
            files |= _layout_file(engine, data, file)
    else:
        files = _source_files(engine, data.source)
    return _digested_with_names(data, files) if isinstance(data.source, str) else files


def file_stamps(names: Iterable[str]) -> Stamps:
    """The size and the time of each local file."""
    files = ((name, Path(name)) for name in names)
    return {name: (file.stat().st_size, file.stat().st_mtime_ns) for name, file in files if file.is_absolute() and file.is_file()}


def refuse_changes(stamps: Stamps, names: Collection[str]) -> None:
    """DataError if one of these files is no longer as it was."""
    now = file_stamps(names)
    if changed := [name for name in names if now.get(name) != stamps.get(name)]:
        raise DataError(f"{changed[0]} changed while it was read; run again")


def _source_files(engine: Engine, source: Any) -> Files:
    if not isinstance(source, str):
        return {"": {"size": 0, "digest": digest(source.model_dump(mode="json"))}}
    if format_of(source) == "delta":
        return {source: {"size": 0, "digest": digest(list(sources.delta_source(engine, source).version()))}}
    if (local := paths.local_files(source)) is not None:
        names = map(os.path.abspath, local)
        return {file: {"size": Path(file).stat().st_size, "digest": file_digest(file)} for file in names}
    # Remote files are not fetched for a digest of their bytes: size and modification time replace it.
    return {name: {"size": size, "digest": digest([size, modified])} for name, size, modified in list_files(engine.spark, source)}


def _digested_with_names(data: "Data", files: Files) -> Files:
    source = str(data.source)
    periods = data.period.of_paths(source, files) if isinstance(data.period, FilePeriod) else {}
    # Layouts may lie in any folders.
    has_folders = not data.versions and format_of(source) in ("csv", "json", "parquet")
    columns: Mapping[str, Any] = paths.partition_columns(source, [*files]) if has_folders else {}
    named = {name: [periods.get(name), columns.get(name)] for name in files if name in periods or columns.get(name)}
    return {n: file | {"digest": digest([file["digest"], named[n]])} if n in named else file for n, file in files.items()}


class LayoutFile(NamedTuple):
    """A file of a layout version; for a generator or a Delta table `path` is None."""

    version: LayoutVersion
    name: str
    path: str | None = None

    @property
    def location(self) -> str:
        """The absolute path; the name of a generator's layout or a Delta table."""
        return os.path.abspath(self.path) if self.path else self.name  # noqa: PTH100 - links stay, `..` does not


def layout_files(data: "Data") -> list[LayoutFile]:
    """The files of all layouts (ConfError for a pattern without files, and for a file of two versions, or of none)."""
    if not isinstance(data.source, str):
        return [LayoutFile(v, v.delta.path if v.delta else f"layout {v.name}") for v in data.versions]
    files = [file for version in data.versions for file in _version_files(data.source, version)]
    names = [file.name for file in files if file.path]
    if repeated := sorted(duplicates(names)):
        raise ConfError(f"data.versions: {repeated[0]} is a file of two versions; make their patterns disjoint")
    present = {str(Path(path).relative_to(data.source)) for path in paths.local_files(glob.escape(data.source)) or ()}
    if rest := sorted(present - set(names)):
        raise ConfError(f"data.versions: {rest[0]} in {data.source} belongs to no version; name it in one, or move it away")
    return files


def _version_files(folder: str, version: LayoutVersion) -> list[LayoutFile]:
    if version.delta:
        return [LayoutFile(version, version.delta.path)]
    if not Path(folder).is_dir():
        raise ConfError(f"data.source: versions with `files` need a folder, and `{folder}` is not one")
    found: list[str] = []
    for pattern in version.files:
        names = sorted(glob.glob(pattern, root_dir=folder))
        if not names:
            raise ConfError(f"data.versions: `{pattern}` of version `{version.name}` matches no file in {folder}")
        found += [path for name in names for path in paths.local_files(glob.escape(str(Path(folder, name)))) or ()]
    return [LayoutFile(version, str(Path(path).relative_to(folder)), path) for path in dict.fromkeys(found)]


def _layout_file(engine: Engine, data: "Data", file: LayoutFile) -> Files:
    if file.path:
        return _source_files(engine, glob.escape(file.location))
    if file.version.delta:
        return {file.location: {"size": 0, "digest": digest(delta_versions.pinned(engine, file.version))}}
    return {file.location: _source_files(engine, data.source)[""]}


def reading_options(conf: "Conf") -> dict[str, Any]:
    """All options on which the rows of a source depend; the table's commits keep their digest."""
    data: dict[str, Any] = job_identity.conf_parts(conf, "ingest")["data"]
    return {name: value for name, value in data.items() if name != "table"} | {"source": source_location(conf.data)}


def source_location(data: "Data") -> Any:
    """The source, by its absolute path if it is local, however the conf spells it."""
    if not isinstance(data.source, str):
        return data.source and data.source.model_dump(mode="json")
    local = paths.local_path(data.source)
    return data.source if local is None else os.path.abspath(local)  # noqa: PTH100 - links stay, `..` does not


def source_digest(data: "Data") -> str:
    """A digest of the source's location, whatever the options of reading it."""
    versions = [[v.files, v.delta and v.delta.model_dump()] for v in data.versions]
    return digest([source_location(data), versions])


def source_label(data: "Data") -> str:
    """The source in the words of a message."""
    return f"the source `{data.source}`" if isinstance(data.source, str) else "the generated source"
