"""MNIST from IDX files, plain or gzipped, with every damage named."""

from __future__ import annotations

import gzip
import hashlib
import math
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]

# The MD5 of each file of the published MNIST, unpacked.
PUBLISHED = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
SIZE = 28
CLASSES = 10
_BYTE = 0x08  # IDX's code for unsigned bytes: the magic number's third byte; the fourth counts dimensions


class DataError(ValueError):
    """The data are missing, damaged or not what the experiment needs."""


class Samples(NamedTuple):
    """Images [count, 28, 28] and labels [count]."""

    images: Bytes
    labels: Bytes


class Mnist(NamedTuple):
    """Both halves, and whether they are the published files byte for byte."""

    train: Samples
    test: Samples
    published: bool


def load(folder: Path) -> Mnist:
    """Read the four files in a folder, each plain or with `.gz`.

    Raises:
        DataError: a file is missing, damaged, or holds something else.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} must be a folder with the four files of MNIST, is none")
    return assemble(lambda name: find(folder, name))


def assemble(where: Callable[[str], Path]) -> Mnist:
    """Read the four files from `where` each is said to be."""
    places = {name: where(name) for name in PUBLISHED}
    contents = {name: unpacked(path) for name, path in places.items()}
    arrays = {name: parse(contents[name], place, 3 if "images" in name else 1) for name, place in places.items()}
    halves = []
    for prefix in ("train", "t10k"):
        images, labels = f"{prefix}-images-idx3-ubyte", f"{prefix}-labels-idx1-ubyte"
        halves.append(_samples(arrays[images], arrays[labels], places[images], places[labels]))
    published = all(digest(contents[name]) == md5 for name, md5 in PUBLISHED.items())
    return Mnist(halves[0], halves[1], published)


def find(folder: Path, name: str) -> Path:
    """The file of that name: plain or gzipped, also as `train-images.idx3-ubyte`."""
    spellings = [spelling + end for spelling in (name, name.replace("-idx", ".idx")) for end in ("", ".gz")]
    for spelling in spellings:
        if (folder / spelling).is_file():
            return folder / spelling
    raise DataError(f"{folder} has no {name}, neither plain nor with .gz")


def unpacked(path: Path) -> bytes:
    """The file's content, decompressed where the name ends in `.gz`."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    return decompress(content, path) if path.suffix == ".gz" else content


def decompress(content: bytes, place: object) -> bytes:
    """Unpack gzip; `place` names the origin in the error."""
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{place} is no intact gzip file of {len(content)} bytes: {error}") from error


def digest(content: bytes) -> str:
    """The MD5 that mirrors publish: against damage, not against malice."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def parse(content: bytes, place: object, dimensions: int) -> Bytes:
    """The array of unsigned bytes in an IDX file.

    Raises:
        DataError: the magic number, the sizes or the length do not fit.
    """
    expected = bytes((0, 0, _BYTE, dimensions))
    if content[:4] != expected:
        found = f"0x{content[:4].hex()}" if content else "nothing, the file is empty"
        raise DataError(
            f"{place} begins with {found}, must begin with 0x{expected.hex()} "
            f"(IDX, unsigned bytes, {dimensions} dimension{'s'[: dimensions > 1]})"
        )
    header = 4 + 4 * dimensions
    if len(content) < header:
        raise DataError(f"{place} is truncated: {len(content)} bytes, its header alone must have {header}")
    shape = tuple(int(size) for size in np.frombuffer(content, ">u4", dimensions, 4))
    length = header + math.prod(shape)
    if len(content) != length:
        what = "truncated" if len(content) < length else "too long"
        sizes = "x".join(map(str, shape))
        raise DataError(f"{place} is {what}: {len(content)} bytes, must be {length} by its header of {sizes}")
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def _samples(images: Bytes, labels: Bytes, images_at: Path, labels_at: Path) -> Samples:
    if images.shape[1:] != (SIZE, SIZE):
        height, width = images.shape[1:]
        raise DataError(f"{images_at} has images of {height}x{width}, must be {SIZE}x{SIZE} for this network")
    if len(images) == 0:
        raise DataError(f"{images_at} holds 0 images, must hold at least one")
    if len(images) != len(labels):
        raise DataError(f"{labels_at} has {len(labels)} labels, must have {len(images)} as {images_at} has images")
    if labels.max() >= CLASSES:
        at = int(np.argmax(labels >= CLASSES))
        raise DataError(f"{labels_at} has the label {labels[at]} at index {at}, must be below {CLASSES}")
    return Samples(images, labels)
