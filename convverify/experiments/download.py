"""MNIST from the public mirrors, checked and kept in the user's cache."""

from __future__ import annotations

import os
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path

from convverify.experiments.mnist import PUBLISHED, DataError, Mnist, assemble, decompress, digest, unpacked

MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
_TIMEOUT_SECONDS = 20

Fetch = Callable[[str], bytes]


def cache_folder() -> Path:
    """Where downloads are kept: below `$XDG_CACHE_HOME`, or `.cache` in the home folder."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "convverify" / "mnist"


def fetch(url: str) -> bytes:
    """The content at an address."""
    with urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as answer:
        content: bytes = answer.read()
    return content


def load_cached(folder: Path | None = None, get: Fetch = fetch) -> Mnist:
    """The published MNIST from the cache; what is not there, or no longer intact, is downloaded first.

    Raises:
        DataError: no mirror answers, or none has the published files.
    """
    kept = cache_folder() if folder is None else folder
    return assemble(lambda name: _kept(kept / f"{name}.gz", get))


def _kept(path: Path, get: Fetch) -> Path:
    name = path.stem
    if path.is_file() and _is_intact(path):
        return path
    content = _download(name, get)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
        partial.write_bytes(content)
        os.replace(partial, path)  # another process never reads half a file
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror}; name a folder with --data") from error
    return path


def _is_intact(path: Path) -> bool:
    try:
        return digest(unpacked(path)) == PUBLISHED[path.stem]
    except DataError:
        return False


def _download(name: str, get: Fetch) -> bytes:
    failures = []
    for mirror in MIRRORS:
        url = f"{mirror}{name}.gz"
        try:
            content = get(url)
            found = digest(decompress(content, url))
        except (OSError, HTTPException, DataError) as error:
            reason = error.reason if isinstance(error, urllib.error.URLError) else error
            failures.append(f"{url}: {reason}")
            continue
        if found == PUBLISHED[name]:
            return content
        failures.append(f"{url}: MD5 {found}, must be {PUBLISHED[name]}")
    raise DataError(f"MNIST cannot be downloaded ({'; '.join(failures)}); name a folder with its files by --data DIR")
