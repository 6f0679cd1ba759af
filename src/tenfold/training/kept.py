"""A registered version from the store: whatever keeps it from being loaded is told in one way, with what to do."""

from collections.abc import Mapping

from tenfold.core.errors import FilesGone, NotFound, SchemaError
from tenfold.registry.versions import Version
from tenfold.sources.base import Blobs
from tenfold.sources.blobs import digest
from tenfold.training.fits import check_kind
from tenfold.training.kinds import Kind
from tenfold.training.model import Model
from tenfold.training.package import Package, load, manifest_of


def kept(blobs: Blobs, version: Version, model: Model) -> Package:
    """Return a version from its stored files, checked as `load` does.

    Raises
    ------
    SchemaError
        When its files are gone or damaged, or are not those that were registered, or as `load` says; FilesGone for
        the first of these, OtherKind when something else is predicted now.
    """
    files = _files(blobs, version)
    check_kind(model, manifest_of(files, model.name), version.number)
    return load(files, model)


def kind(blobs: Blobs, version: Version) -> Kind | None:
    """Return what a version predicts, None where its files do not say."""
    try:
        return manifest_of(_files(blobs, version), version.model).kind
    except SchemaError:
        return None


def _files(blobs: Blobs, version: Version) -> Mapping[str, bytes]:
    """Return the files of a version. That they are gone is no other fault than that they are damaged."""
    try:
        files = blobs.get(version.artefact)
    except NotFound as error:
        raise FilesGone(_told(version, f'are gone (no blob "{error.name}")')) from error
    except SchemaError as error:
        raise SchemaError(_told(version, f"are damaged ({str(error).rstrip('.')})")) from error
    if digest(files) != version.digest:
        replaced = "are not those that were registered: all of them and their hashes were replaced"
        raise SchemaError(_told(version, replaced))
    return files


def _told(version: Version, what: str) -> str:
    again = f"tenfold models rebuild PROJECT.py {version.model} {version.number} --restore"
    return f"the files of {version.model} version {version.number} {what}. Make them again: {again}. Or roll back, or train it again."
