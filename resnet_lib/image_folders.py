"""Folders of images, ``train/CLASS/*.jpg`` and ``test/CLASS/*.jpg``, read once and kept in a cache.

The layout is the one that torchvision.datasets.ImageFolder reads.
"""

import contextlib
import hashlib
import json
import os
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from tqdm.auto import tqdm

from resnet_lib.archives import Images
from resnet_lib.files import set_aside

SUFFIXES = (".jpg", ".jpeg", ".png")
GREY = ("1", "L", "LA")  # PIL's modes of images without colour
FORMAT = "resnet_lib images 1"
CHUNK = 256  # images a thread reads in one go


def load_folder(path: Path, cache: Path) -> tuple[Images, tuple[str, ...], str]:
    """The images of a folder, the names of its classes in the order of the labels, and a digest of both.

    Read from ``train/CLASS/`` and ``test/CLASS/``, or ``val/CLASS/`` where there is no ``test/``: JPEG and PNG files,
    in the order of their names. Hidden files are passed over. All images must have one size. Where all are grey they
    have one channel, else three; transparency is dropped.

    The images are decoded once and kept in a file in the folder ``cache``, which belongs to exactly this listing
    (names, sizes and times of change). A cache that does not fit its checksum is set aside, with a warning. A cache
    that can't be written costs a warning, and the next load decodes again. Old caches may be deleted at any time.

    Memory: one byte a pixel and channel, N·C·H·W, also while decoding; 50,000 colour images of 32×32 take 0.15 GB.

    The digest has 8 hex digits. It depends on pixels, labels and names of classes alone: a copy of the folder has the
    same one, as long as the same release of Pillow decodes it.

    Raises:
        ValueError: a folder, split, class or image that is missing, empty or can't be read, or images of two sizes;
            the sentence names it.
        MemoryError: the images do not fit; the sentence says how much they take.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for place in ("train/ant", "train/bee", "test/ant", "test/bee"):
    ...         Path(folder, place).mkdir(parents=True)
    ...         Image.new("RGB", (32, 32)).save(Path(folder, place, "0.png"))
    ...     images, classes, digest = load_folder(Path(folder), Path(folder, "cache"))
    >>> images.train_images.shape, images.test_labels, classes, digest
    (torch.Size([2, 3, 32, 32]), tensor([0, 1]), ('ant', 'bee'), '85455723')
    """
    splits = [_list_split(path, name) for name in _find_splits(path)]
    _check_same_classes(*splits)
    classes = tuple(splits[0].images)
    key = _digest_listing(splits)
    cached = cache / f"images-{key[:16]}.cache"
    loaded = _read_cache(cached, key)
    if loaded is None:
        images = _read_splits(splits)
        digest = _digest_content(images, classes)
        _write_cache(cached, np.array([FORMAT, key, digest, *classes]), images)
    else:
        images, digest = loaded
    return images, classes, digest[:8]


class _Split(NamedTuple):
    """The listing of one split: {class: its image files}, sorted by name."""

    folder: Path
    images: dict[str, list[os.DirEntry[str]]]


def _find_splits(path: Path) -> tuple[str, str]:
    if not path.is_dir():
        raise ValueError(f"{path} is not a folder: name one that holds train/ and test/ (or val/)")
    test = next((name for name in ("test", "val") if (path / name).is_dir()), None)
    if test is None or not (path / "train").is_dir():
        missing = "train/" if test else "test/ or val/"
        raise ValueError(f"{path} holds no {missing}: it must hold train/CLASS/ and test/CLASS/ (or val/CLASS/)")
    return "train", test


def _list_visible(folder: str | Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda entry: entry.name)


def _list_split(path: Path, name: str) -> _Split:
    split = _Split(path / name, {})
    left_out = []
    for folder in _list_visible(split.folder):
        if not folder.is_dir():
            continue
        entries = _list_visible(folder.path)
        files = [entry for entry in entries if entry.name.lower().endswith(SUFFIXES) and entry.is_file()]
        if not files:
            raise ValueError(f"{folder.path} holds no image: put {', '.join(SUFFIXES)} files there or take it away")
        left_out += set(entries) - set(files)
        split.images[folder.name] = files
    if not split.images:
        raise ValueError(f"{split.folder} holds no class: put the images into {split.folder / 'CLASS'}, one a class")
    if left_out:
        example = min(entry.path for entry in left_out)
        warnings.warn(f"{len(left_out)} of {split.folder} are no JPEG or PNG files, such as {example}", stacklevel=3)
    return split


def _check_same_classes(train: _Split, test: _Split) -> None:
    for one, other in ((train, test), (test, train)):
        alone = sorted(one.images.keys() - other.images.keys())
        if alone:
            names = ", ".join(map(repr, alone[:3])) + (", …" if len(alone) > 3 else "")
            raise ValueError(
                f"{other.folder} must hold the same classes as {one.folder}, but lacks {names}: add them there or "
                f"take them away from {one.folder.name}/"
            )


def _digest_listing(splits: Sequence[_Split]) -> str:
    """SHA-256 of what tells one state of the folder from another without reading the images."""
    listing = [
        (split.folder.name, name, file.name, file.stat().st_size, file.stat().st_mtime_ns)
        for split in splits
        for name, files in split.images.items()
        for file in files
    ]
    return hashlib.sha256(json.dumps(listing).encode()).hexdigest()


def _digest_content(images: Images, classes: Sequence[str]) -> str:
    """SHA-256 of the names of classes and of shape and content of every tensor."""
    digest = hashlib.sha256("".join(f"{name}\n" for name in classes).encode())
    for tensor in images:
        digest.update(str(tuple(tensor.shape)).encode())
        digest.update(tensor.numpy())
    return digest.hexdigest()


def _read_splits(splits: Sequence[_Split]) -> Images:
    files = [file.path for split in splits for images in split.images.values() for file in images]
    pixels = torch.from_numpy(_read_images(files))
    labels = [
        torch.repeat_interleave(torch.tensor([len(images) for images in split.images.values()])) for split in splits
    ]
    count = len(labels[0])
    return Images(pixels[:count], labels[0], pixels[count:], labels[1])


def _read_images(files: Sequence[str]) -> np.ndarray:
    """All images, (N, C, H, W) uint8, decoded by several threads straight into their places."""
    with _opened(files[0]) as image:
        width, height = image.size
    grey = all(_is_grey(file) for file in files)  # ends at the first image in colour, which is mostly the first
    shape = (len(files), 1 if grey else 3, height, width)
    memory = f"{np.prod(shape, dtype=float) / 1e9:.2g} GB"
    try:
        pixels = np.empty(shape, np.uint8)
    except MemoryError:
        raise MemoryError(f"{len(files)} images of {width}×{height} take {memory}: use fewer or smaller ones") from None

    def read(start: int) -> int:
        for i, file in enumerate(files[start : start + CHUNK], start):
            with _opened(file) as image:
                decoded = np.asarray(image.convert("L" if grey else "RGB"))
            if decoded.shape[:2] != (height, width):
                raise ValueError(
                    f"{file} has {decoded.shape[1]}×{decoded.shape[0]} pixels, but {files[0]} has {width}×{height}: "
                    "bring all images to one size first"
                )
            pixels[i] = decoded if grey else decoded.transpose(2, 0, 1)
        return min(CHUNK, len(files) - start)

    pool = ThreadPoolExecutor()
    try:
        with tqdm(total=len(files), desc=f"Reading images, {memory} of memory", unit=" images") as bar:
            for count in pool.map(read, range(0, len(files), CHUNK)):
                bar.update(count)
    finally:  # after an error or an interrupt the other images are not read
        pool.shutdown(cancel_futures=True)
    return pixels


@contextlib.contextmanager
def _opened(file: str) -> Iterator[Image.Image]:
    """The image in a file; whatever goes wrong with it inside becomes a sentence that names the file."""
    try:
        with Image.open(file, formats=("JPEG", "PNG")) as image:
            if image.mode.startswith("I"):  # PIL would cut such values off at 255
                raise ValueError("more than 8 bits a pixel")
            yield image
    except Exception as error:  # a damaged file can make PIL raise almost anything
        reason = "its content is neither" if isinstance(error, UnidentifiedImageError) else error
        raise ValueError(
            f"{file} can't be read as a JPEG or PNG image of 8 bits ({reason}): replace it or take it away"
        ) from None


def _is_grey(file: str) -> bool:
    with _opened(file) as image:
        return image.mode in GREY


def _read_cache(path: Path, key: str) -> tuple[Images, str] | None:
    """The images of a cache and their digest, or None if there is no such cache; one that can't be used is set aside.

    A cache is five arrays in NumPy's own format, one behind the other, none of them pickled: format, key, digest and
    classes as strings, then the four tensors of `Images`. The digest of the content is the checksum.
    """
    if not path.exists():
        return None
    try:
        with path.open("rb") as file:
            head, *arrays = (np.load(file, allow_pickle=False) for _ in range(5))
        form, cached_key, digest, *classes = head.tolist()
        images = Images(*map(torch.from_numpy, arrays))
        if (form, cached_key) != (FORMAT, key) or digest != _digest_content(images, classes):
            raise ValueError("wrong checksum")
        return images, digest
    except Exception as error:  # a damaged or foreign file can make NumPy raise almost anything
        aside = set_aside(path)
        warnings.warn(
            f"{path} is not the cache of these images ({error}); it is now {aside.name}, and the images are read again",
            stacklevel=3,
        )
        return None


def _write_cache(path: Path, head: np.ndarray, images: Images) -> None:
    """Write a cache at once or not at all; it only saves time, so that a full disk is no reason to stop."""
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with unfinished.open("wb") as file:
            for array in (head, *images):
                np.save(file, array, allow_pickle=False)
        os.replace(unfinished, path)
    except OSError as error:
        warnings.warn(
            f"the images can't be cached in {path.parent} ({error.strerror or error}), so that the next load decodes "
            "them again: make room there or name another folder",
            stacklevel=3,
        )
    finally:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)
