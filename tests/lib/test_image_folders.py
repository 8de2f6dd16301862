"""A folder of images becomes tensors once, and says in one sentence what is wrong with it."""

import errno
import os
import re
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from resnet_lib import image_folders
from resnet_lib.archives import Images
from resnet_lib.image_folders import load_folder

HEIGHT, WIDTH = 6, 8
PER_CLASS = {"train": 3, "test": 2}
CLASSES = ("ant", "Bee", "cat")


def noise(seed: int, *shape: int) -> np.ndarray:
    return np.random.RandomState(seed).randint(0, 256, shape).astype(np.uint8)


def make_folder(root: Path, colour: bool = True, test: str = "test", suffix: str = ".png") -> Path:
    """Three classes, three images each for training and two for testing, all different."""
    shape = (HEIGHT, WIDTH, 3) if colour else (HEIGHT, WIDTH)
    seed = 0
    for split, count in PER_CLASS.items():
        for name in CLASSES:
            folder = root / (test if split == "test" else split) / name
            folder.mkdir(parents=True)
            for number in range(count):
                Image.fromarray(noise(seed, *shape)).save(folder / f"{number:04d}{suffix}")
                seed += 1
    return root


@pytest.fixture
def folder(tmp_path) -> Path:
    return make_folder(tmp_path / "images")


@pytest.fixture
def cache(tmp_path) -> Path:
    return tmp_path / "kept" / "cache"


def expect(root: Path, split: str) -> tuple[np.ndarray, list[int]]:
    """One image after another, as anybody would read them."""
    pixels, labels = [], []
    for label, name in enumerate(sorted(CLASSES)):
        for path in sorted((root / split / name).iterdir()):
            with Image.open(path) as image:
                pixels.append(np.atleast_3d(np.asarray(image)).transpose(2, 0, 1))
            labels.append(label)
    return np.stack(pixels), labels


def check(images: Images, root: Path, test: str = "test") -> None:
    for (pixels, labels), split in zip((images[:2], images[2:]), ("train", test), strict=True):
        expected_pixels, expected_labels = expect(root, split)
        assert pixels.dtype == torch.uint8 and labels.dtype == torch.int64
        assert np.array_equal(pixels.numpy(), expected_pixels)
        assert labels.tolist() == expected_labels


def equal(one: Images, other: Images) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def files_in(cache: Path) -> list[Path]:
    return sorted(cache.iterdir())


@pytest.fixture
def no_decoding(monkeypatch):
    """From here on only a cache can help."""

    def forbid():
        monkeypatch.setattr(image_folders, "_read_images", lambda files: pytest.fail("decoded again"))

    return forbid


# What comes out


@pytest.mark.parametrize(
    "suffix, test", [(".png", "test"), (".jpg", "val"), (".jpeg", "test"), (".PNG", "test"), (".JPG", "val")]
)
@pytest.mark.parametrize("colour", [True, False], ids=["colour", "grey"])
def test_images_labels_and_classes_are_those_of_the_folder(tmp_path, cache, colour, suffix, test):
    root = make_folder(tmp_path / "images", colour, test, suffix)
    images, classes, digest = load_folder(root, cache)
    assert classes == ("Bee", "ant", "cat")  # sorted as ImageFolder does
    assert images.train_images.shape == (9, 3 if colour else 1, HEIGHT, WIDTH)
    check(images, root, test)
    assert re.fullmatch("[0-9a-f]{8}", digest)


def test_many_images_keep_their_places(tmp_path, cache, monkeypatch):
    monkeypatch.setattr(image_folders, "CHUNK", 2)
    root = make_folder(tmp_path / "images")
    check(load_folder(root, cache)[0], root)


def test_test_comes_before_val(folder, cache):
    shutil.copytree(folder / "train", folder / "val")
    check(load_folder(folder, cache)[0], folder, "test")


def test_hidden_files_and_files_beside_the_classes_are_passed_over(folder, cache):
    for hidden in (".DS_Store", "train/.DS_Store", "train/ant/.0000.png", "train/notes.txt", "README.md"):
        (folder / hidden).write_bytes(b"no image")
    (folder / "train" / ".ipynb_checkpoints").mkdir()
    assert load_folder(folder, cache)[0].train_images.shape[0] == 9


def test_files_that_are_left_out_are_counted(folder, cache):
    (folder / "train" / "ant" / "0007.gif").write_bytes(b"")
    (folder / "train" / "cat" / "more").mkdir()
    with pytest.warns(UserWarning, match=r"^2 of .*train are no JPEG or PNG files, such as .*ant.0007\.gif$"):
        assert load_folder(folder, cache)[0].train_images.shape[0] == 9


@pytest.mark.parametrize("mode", ["1", "LA", "P", "RGBA", "CMYK"])
def test_other_kinds_of_images_are_read_as_grey_or_rgb(tmp_path, cache, mode):
    root = tmp_path / "images"
    shown = Image.fromarray(noise(1, HEIGHT, WIDTH, 3)).convert(mode)
    for split in ("train", "test"):
        (root / split / "ant").mkdir(parents=True)
        shown.save(root / split / "ant" / ("0.jpg" if mode == "CMYK" else "0.png"))
    pixels = load_folder(root, cache)[0].train_images
    target = "L" if mode in ("1", "LA") else "RGB"
    assert pixels.shape[1] == (1 if target == "L" else 3)
    if mode != "CMYK":  # whose JPEG is not exact
        assert np.array_equal(pixels[0].numpy(), np.atleast_3d(np.asarray(shown.convert(target))).transpose(2, 0, 1))


def test_one_image_in_colour_makes_all_of_them_rgb(tmp_path, cache):
    root = make_folder(tmp_path / "images", colour=False)
    Image.fromarray(noise(99, HEIGHT, WIDTH, 3)).save(root / "test" / "cat" / "0001.png")
    images = load_folder(root, cache)[0]
    assert images.train_images.shape[1] == images.test_images.shape[1] == 3
    with Image.open(root / "train" / "ant" / "0000.png") as grey:
        assert np.array_equal(images.train_images[3].numpy(), np.stack([np.asarray(grey)] * 3))
    assert not torch.equal(images.test_images[-1, 0], images.test_images[-1, 1])


def test_the_progress_bar_states_images_and_memory(folder, cache, capsys):
    load_folder(folder, cache)
    assert re.search(r"Reading images, 2\.2e-06 GB of memory: 100%.* 15/15", capsys.readouterr().err)


# The digest


def test_the_digest_is_that_of_the_content_wherever_it_lies(folder, cache, tmp_path):
    images, _, digest = load_folder(folder, cache)
    copy = shutil.copytree(folder, tmp_path / "elsewhere", copy_function=shutil.copyfile)  # with other times
    (copy / "test").rename(copy / "val")
    (copy / "train" / "ant" / "0000.png").rename(copy / "train" / "ant" / "0000a.png")
    other, _, same = load_folder(copy, cache)
    assert equal(images, other) and same == digest


def repaint(root: Path) -> None:
    Image.fromarray(noise(99, HEIGHT, WIDTH, 3)).save(root / "train" / "ant" / "0001.png")


def rename_class(root: Path) -> None:
    for split in ("train", "test"):
        (root / split / "ant").rename(root / split / "art")


def reorder(root: Path) -> None:
    (root / "train" / "ant" / "0000.png").rename(root / "train" / "ant" / "9999.png")


def move_to_another_class(root: Path) -> None:
    (root / "train" / "Bee" / "0002.png").rename(root / "train" / "ant" / "-.png")  # at the same place in the order


def move_to_the_other_split(root: Path) -> None:
    (root / "train" / "cat" / "0002.png").rename(root / "test" / "Bee" / "-.png")


@pytest.mark.parametrize("change", [repaint, rename_class, reorder, move_to_another_class, move_to_the_other_split])
def test_any_change_of_content_changes_the_digest_and_is_seen_beside_an_old_cache(folder, cache, change):
    before = load_folder(folder, cache)[2]
    change(folder)
    after = load_folder(folder, cache)[2]
    assert after != before and len(files_in(cache)) == 2


# The cache


def test_the_second_load_decodes_nothing_and_gives_the_same(folder, cache, no_decoding):
    images, classes, digest = load_folder(folder, cache)
    assert len(files_in(cache)) == 1
    no_decoding()
    again, same_classes, same_digest = load_folder(folder, cache)
    assert equal(images, again) and (same_classes, same_digest) == (classes, digest)
    assert [tensor.dtype for tensor in again] == [tensor.dtype for tensor in images]
    again.train_images.zero_()  # tensors can be written to


def test_a_cache_holds_no_path_and_no_pickle(folder, cache):
    load_folder(folder, cache)
    content = files_in(cache)[0].read_bytes()
    for text in (str(folder), str(cache), "tmp", "pickle"):
        assert text.encode() not in content and text.encode("utf-32-le") not in content


@pytest.mark.parametrize("touched", ["time", "size", "name"])
def test_a_cache_belongs_to_exactly_its_listing(folder, cache, touched):
    load_folder(folder, cache)
    path = folder / "test" / "cat" / "0001.png"
    if touched == "time":
        os.utime(path, ns=(0, 0))
    elif touched == "size":
        stat = path.stat()
        path.write_bytes(path.read_bytes() + b"\0")
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    else:
        path.rename(path.with_name("0009.png"))
    load_folder(folder, cache)
    assert len(files_in(cache)) == 2


def cut(content: bytes) -> bytes:
    return content[:-1]


def flip_a_pixel(content: bytes) -> bytes:
    at = content.index(noise(9, HEIGHT, WIDTH, 3)[:, :, 0].tobytes())  # the first image of the first class for testing
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


def flip_a_label(content: bytes) -> bytes:
    labels = np.array([0, 0, 1, 1, 2, 2]).tobytes()
    assert content.endswith(labels)
    return content[:-8] + bytes(8)


def rename_the_class(content: bytes) -> bytes:
    return content.replace("ant".encode("utf-32-le"), "art".encode("utf-32-le"))


def another_release(content: bytes) -> bytes:
    return content.replace("images 1".encode("utf-32-le"), "images 0".encode("utf-32-le"))


DAMAGES = [
    cut,
    flip_a_pixel,
    flip_a_label,
    rename_the_class,
    another_release,
    lambda content: b"",
    lambda content: b"not ours at all" * 100,
    lambda content: b"\x93NUMPY\x01\x00\x10\x00(((((((((((((((\n" + content,
    lambda content: content.replace(b"(9, 3, 6, 8)", b"(9000000000, 3, 6, 8)"),
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_corrupt_or_foreign_cache_is_set_aside_and_made_again(folder, cache, damage, no_decoding):
    images, _, digest = load_folder(folder, cache)
    path = files_in(cache)[0]
    damaged = damage(path.read_bytes())
    path.write_bytes(damaged)
    with pytest.warns(UserWarning, match=r"is not the cache of these images \(.*\); it is now .*\.set-aside, and the"):
        again, _, same = load_folder(folder, cache)
    assert equal(images, again) and same == digest
    assert path.with_name(f"{path.name}.set-aside").read_bytes() == damaged
    no_decoding()
    load_folder(folder, cache)


def test_a_cache_of_other_images_under_the_wrong_name_is_not_used(folder, cache):
    load_folder(folder, cache)
    first = files_in(cache)[0]
    repaint(folder)
    images = load_folder(folder, cache)[0]
    second = next(path for path in files_in(cache) if path != first)
    os.replace(first, second)
    with pytest.warns(UserWarning, match="is not the cache of these images"):
        assert equal(load_folder(folder, cache)[0], images)


def full_disk(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_costs_a_warning_and_leaves_nothing(folder, cache, monkeypatch):
    save = np.save
    calls = []

    def save_some(file, array, **options):
        calls.append(array)
        save(file, array, **options) if len(calls) < 3 else full_disk()

    with monkeypatch.context() as patch:
        patch.setattr(np, "save", save_some)
        with pytest.warns(
            UserWarning, match=r"can't be cached in .*cache \(No space left on device\), so that the next load decodes"
        ):
            images = load_folder(folder, cache)[0]
    check(images, folder)
    assert files_in(cache) == []


def test_a_file_where_the_cache_folder_belongs_costs_a_warning(folder, tmp_path):
    in_the_way = tmp_path / "in the way"
    in_the_way.write_text("mine")
    with pytest.warns(UserWarning, match="can't be cached in .*in the way"):
        check(load_folder(folder, in_the_way)[0], folder)
    assert in_the_way.read_text() == "mine"


def test_a_cache_has_its_name_only_when_it_is_whole(folder, cache, monkeypatch):
    replace = os.replace
    seen = []

    def watched(source, target):
        seen.append(Path(source).stat().st_size)
        assert not Path(target).exists()
        replace(source, target)

    monkeypatch.setattr(os, "replace", watched)
    load_folder(folder, cache)
    assert seen == [path.stat().st_size for path in files_in(cache)]


def test_after_an_interrupt_while_writing_there_is_no_cache(folder, cache, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        load_folder(folder, cache)
    assert files_in(cache) == []


# What is wrong with a folder


def refused(folder: Path, cache: Path, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence) as error:
        load_folder(folder, cache)
    assert "\n" not in str(error.value)
    assert not cache.exists()


def test_a_folder_that_is_not_there_is_named(tmp_path, cache):
    refused(tmp_path / "nowhere", cache, r"nowhere is not a folder: name one that holds train/ and test/ \(or val/\)$")


def test_a_file_instead_of_a_folder_is_named(tmp_path, cache):
    (tmp_path / "images.zip").write_bytes(b"")
    refused(tmp_path / "images.zip", cache, "images.zip is not a folder: name one that holds")


@pytest.mark.parametrize("gone, missing", [("train", "train/"), ("test", "test/ or val/")])
def test_a_missing_split_is_named(folder, cache, gone, missing):
    shutil.rmtree(folder / gone)
    refused(folder, cache, rf"images holds no {missing}: it must hold train/CLASS/ and test/CLASS/ \(or val/CLASS/\)$")


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_split_without_classes_is_named(folder, cache, split):
    shutil.rmtree(folder / split)
    (folder / split).mkdir()
    Image.fromarray(noise(0, HEIGHT, WIDTH, 3)).save(folder / split / "0.png")
    refused(folder, cache, rf"{split} holds no class: put the images into .*{split}.CLASS, one a class$")


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("left", [[], ["a.txt", ".0.png", "b.webp"]], ids=["nothing", "no image"])
def test_an_empty_class_is_named(folder, cache, split, left):
    shutil.rmtree(folder / split / "cat")
    (folder / split / "cat").mkdir()
    for name in left:
        (folder / split / "cat" / name).write_bytes(b"")
    refused(folder, cache, rf"{split}.cat holds no image: put \.jpg, \.jpeg, \.png files there or take it away$")


@pytest.mark.parametrize("gone, alone", [("train", "test"), ("test", "train")])
def test_a_class_in_one_split_alone_is_named(folder, cache, gone, alone):
    shutil.rmtree(folder / gone / "ant")
    refused(
        folder,
        cache,
        rf"{gone} must hold the same classes as .*{alone}, but lacks 'ant': add them there or take them away from "
        rf"{alone}/$",
    )


CORRUPT = {
    "cut": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "other": lambda content: b"GIF89a" + content,
    "text": lambda content: b"<html>404 Not Found</html>",
    "damaged": lambda content: content[:60] + bytes(20) + content[80:],
}


@pytest.mark.parametrize("kind", CORRUPT)
@pytest.mark.parametrize("name", ["train/Bee/0000", "test/cat/0001"], ids=["first", "last"])
@pytest.mark.parametrize("colour", [True, False], ids=["colour", "grey"])
def test_a_corrupt_image_is_named(tmp_path, cache, name, kind, colour):
    root = make_folder(tmp_path / "images", colour)
    path = root / f"{name}.png"
    path.write_bytes(CORRUPT[kind](path.read_bytes()))
    sentence = r"can't be read as a JPEG or PNG image of 8 bits \(.+\): replace it or take it away$"
    refused(root, cache, rf"^{re.escape(str(path))} {sentence}")


def test_a_picture_in_another_format_is_refused_whatever_its_name(folder, cache):
    Image.fromarray(noise(0, HEIGHT, WIDTH)).save(folder / "train" / "cat" / "0001.png", format="GIF")
    refused(folder, cache, r"cat.0001\.png can't be read as a JPEG or PNG image of 8 bits \(its content is neither\)")


def test_a_corrupt_jpeg_is_named(tmp_path, cache):
    root = make_folder(tmp_path / "images", suffix=".jpg")
    path = root / "train" / "cat" / "0002.jpg"
    path.write_bytes(path.read_bytes()[:-150])
    refused(
        root, cache, r"cat.0002\.jpg can't be read as a JPEG or PNG image of 8 bits \((?i:.*truncated.*)\): replace"
    )


def test_an_image_of_16_bits_is_refused_and_not_cut_off(tmp_path, cache):
    root = make_folder(tmp_path / "images", colour=False)
    Image.fromarray(np.full((HEIGHT, WIDTH), 40_000, np.uint16)).save(root / "train" / "cat" / "0001.png")
    refused(root, cache, r"cat.0001\.png can't be read as a JPEG or PNG image of 8 bits \(more than 8 bits a pixel\)")


@pytest.mark.parametrize("size", [(WIDTH, HEIGHT + 1), (HEIGHT, WIDTH), (1, 1)])
def test_an_image_of_another_size_is_named(folder, cache, size):
    with Image.open(folder / "test" / "ant" / "0001.png") as image:
        image.resize(size).save(folder / "test" / "ant" / "0001.png")
    refused(
        folder,
        cache,
        rf"ant.0001\.png has {size[0]}×{size[1]} pixels, but .*Bee.0000\.png has 8×6: bring all images to one size "
        r"first$",
    )


def test_too_little_memory_is_told_in_figures(folder, cache, monkeypatch):
    def no_memory(*_):
        raise MemoryError

    monkeypatch.setattr(np, "empty", no_memory)
    with pytest.raises(MemoryError, match=r"^15 images of 8×6 take 2\.2e-06 GB: use fewer or smaller ones$"):
        load_folder(folder, cache)


def test_a_folder_in_order_causes_no_warning(folder, cache):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_folder(folder, cache)
        load_folder(folder, cache)
