"""Reading IDX files: what is read, and how every damage is named."""

from __future__ import annotations

import gzip
import urllib.error
from pathlib import Path

import numpy as np
import pytest

from convverify.experiments import download, mnist
from convverify.experiments.mnist import DataError


def idx(array: np.ndarray) -> bytes:
    header = bytes((0, 0, 8, array.ndim)) + b"".join(size.to_bytes(4, "big") for size in array.shape)
    return header + array.astype(np.uint8).tobytes()


def contents(count: int = 6) -> dict[str, bytes]:
    chance = np.random.default_rng(0)
    images, labels = chance.integers(0, 256, (count, 28, 28)), np.arange(count) % 10
    return {name: idx(images if "images" in name else labels) for name in mnist.PUBLISHED}


def put(folder: Path, files: dict[str, bytes], zipped: bool = False) -> Path:
    for name, content in files.items():
        if zipped:
            (folder / f"{name}.gz").write_bytes(gzip.compress(content))
        else:
            (folder / name).write_bytes(content)
    return folder


@pytest.mark.parametrize("zipped", [False, True], ids=["plain", "gzipped"])
def test_reads_four_files(tmp_path: Path, zipped: bool) -> None:
    data = mnist.load(put(tmp_path, contents(), zipped))
    assert data.train.images.shape == data.test.images.shape == (6, 28, 28)
    assert data.train.labels.tolist() == [0, 1, 2, 3, 4, 5]
    assert np.array_equal(data.train.images, np.random.default_rng(0).integers(0, 256, (6, 28, 28)))
    assert not data.published


def test_reads_the_spelling_with_a_dot(tmp_path: Path) -> None:
    put(tmp_path, {name.replace("-idx", ".idx"): content for name, content in contents().items()})
    assert len(mnist.load(tmp_path).test.labels) == 6


def test_knows_the_published_files_by_checksum(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = contents()
    monkeypatch.setattr(mnist, "PUBLISHED", {name: mnist.digest(content) for name, content in files.items()})
    assert mnist.load(put(tmp_path, files)).published


def images(array: np.ndarray) -> dict[str, bytes]:
    return {"train-images-idx3-ubyte": idx(array)}


def labels(array: np.ndarray) -> dict[str, bytes]:
    return {"t10k-labels-idx1-ubyte": idx(array)}


whole = contents()["train-images-idx3-ubyte"]
DAMAGE = {
    "empty": ({"train-images-idx3-ubyte": b""}, "begins with nothing, the file is empty"),
    "magic": ({"train-images-idx3-ubyte": b"\0\0\x0d\x03" + whole[4:]}, "0x00000d03, must begin with 0x00000803"),
    "html": ({"t10k-labels-idx1-ubyte": b"<html>"}, "0x3c68746d, must begin with 0x00000801"),
    "swapped": (labels(np.zeros((6, 28, 28))), "0x00000803, must begin with 0x00000801"),
    "header": ({"train-images-idx3-ubyte": whole[:10]}, "truncated: 10 bytes, its header alone must have 16"),
    "truncated": ({"train-images-idx3-ubyte": whole[:-1]}, "4719 bytes, must be 4720 by its header of 6x28x28"),
    "too long": ({"train-images-idx3-ubyte": whole + b"\0"}, "too long: 4721 bytes, must be 4720"),
    "size": (images(np.zeros((6, 32, 30))), "images of 32x30, must be 28x28"),
    "no image": (images(np.zeros((0, 28, 28))), "holds 0 images"),
    "count": (labels(np.zeros(5)), "has 5 labels, must have 6"),
    "label": (labels(np.array([0, 1, 10, 2, 3, 4])), "the label 10 at index 2, must be below 10"),
}


@pytest.mark.parametrize(("files", "message"), DAMAGE.values(), ids=DAMAGE)
def test_names_the_damage_and_the_file(tmp_path: Path, files: dict[str, bytes], message: str) -> None:
    put(tmp_path, contents() | files)
    with pytest.raises(DataError, match=r"-ubyte") as caught:
        mnist.load(tmp_path)
    assert message in str(caught.value)
    assert str(tmp_path / next(iter(files))) in str(caught.value)


@pytest.mark.parametrize(
    "damaged",
    [b"no gzip at all", gzip.compress(b"some bytes")[:-6], gzip.compress(bytes(100))[:12] + b"\xff" * 20],
    ids=["no gzip", "cut off", "bytes changed"],
)
def test_names_a_bad_gzip_file(tmp_path: Path, damaged: bytes) -> None:
    put(tmp_path, contents(), zipped=True)
    (tmp_path / "t10k-images-idx3-ubyte.gz").write_bytes(damaged)
    with pytest.raises(DataError, match=rf"t10k-images-idx3-ubyte\.gz is no intact gzip file of {len(damaged)} bytes"):
        mnist.load(tmp_path)


def test_names_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="must be a folder"):
        mnist.load(tmp_path / "absent")
    put(tmp_path, contents())
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError, match="has no t10k-labels-idx1-ubyte, neither plain nor with"):
        mnist.load(tmp_path)


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """Files of a mirror by address, with the checksums to match."""
    files = contents()
    published = {name: mnist.digest(content) for name, content in files.items()}
    monkeypatch.setattr(mnist, "PUBLISHED", published)
    monkeypatch.setattr(download, "PUBLISHED", published)
    return {download.MIRRORS[1] + name + ".gz": gzip.compress(content) for name, content in files.items()}


def answering(files: dict[str, bytes], asked: list[str]) -> download.Fetch:
    def get(url: str) -> bytes:
        asked.append(url)
        if url not in files:
            raise urllib.error.URLError("no route to host")
        return files[url]

    return get


def test_downloads_from_the_second_mirror_and_keeps(tmp_path: Path, mirror: dict[str, bytes]) -> None:
    asked: list[str] = []
    get = answering(mirror, asked)
    assert download.load_cached(tmp_path / "cache", get).published
    assert len(asked) == 8
    assert download.load_cached(tmp_path / "cache", get).published
    assert len(asked) == 8, "what is kept was asked for again"
    assert sorted(file.name for file in (tmp_path / "cache").iterdir()) == sorted(f"{n}.gz" for n in mnist.PUBLISHED)


def test_downloads_again_what_is_damaged(tmp_path: Path, mirror: dict[str, bytes]) -> None:
    get = answering(mirror, [])
    download.load_cached(tmp_path, get)
    damaged = tmp_path / "t10k-labels-idx1-ubyte.gz"
    damaged.write_bytes(damaged.read_bytes()[:-3])
    assert download.load_cached(tmp_path, get).published


def test_refuses_a_wrong_checksum(tmp_path: Path, mirror: dict[str, bytes]) -> None:
    wrong = dict.fromkeys(mirror, gzip.compress(b"something else"))
    with pytest.raises(DataError, match=r"no route to host; .*: MD5 \w{32}, must be \w{32}\); name a folder"):
        download.load_cached(tmp_path, answering(wrong, []))
    assert not list(tmp_path.iterdir())


def test_says_in_one_line_that_no_mirror_answers(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be downloaded") as caught:
        download.load_cached(tmp_path, answering({}, []))
    assert "--data DIR" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_says_that_the_cache_cannot_be_written(tmp_path: Path, mirror: dict[str, bytes]) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot be written"):
        download.load_cached(tmp_path / "file" / "cache", answering(mirror, []))


def test_cache_folder_follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert download.cache_folder() == tmp_path / "convverify" / "mnist"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert download.cache_folder().parts[-3:] == (".cache", "convverify", "mnist")
