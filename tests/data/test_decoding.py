"""One image in many files: each must give the pixels of the 8-bit original."""

import base64
import subprocess
import sys

import cv2
import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from bccd.data.images import pillow_images
from bccd.data.images.decoding import explain_turn, image_size, list_pages, read_bgr, read_rgb
from bccd.data.images.depth import to_8_bits
from bccd.data.images.image_source import ImageSource, UnreadableImageError
from bccd.data.images.reading import ImageReader
from bccd.data.synthetic import load_smears
from bccd.reliability.good_images import HEIC

RGB = np.random.default_rng(0).integers(0, 251, (12, 16, 3), dtype=np.uint8)
RGB[0, 0] = 250  # bright, as the empty part of a field is
GREY = np.repeat(RGB[..., :1], 3, axis=2)
DEEP = RGB.astype(np.uint16) << 4  # 12 bits in 16
OPAQUE, CLEAR = (np.full((12, 16, 1), alpha, np.uint16) for alpha in (65535, 0))
PLANES = RGB.transpose(2, 0, 1)


def tiff(path, values, **options):
    tifffile.imwrite(path, values, **{"photometric": "rgb", "metadata": None, **options})


def png(path, values):
    order = {2: np.s_[:], 3: np.s_[..., ::-1], 4: np.s_[..., [2, 1, 0, 3]]}
    assert cv2.imwrite(str(path), values[order.get(values.shape[-1], np.s_[:])])


def rgba(alpha):
    return np.concatenate((DEEP, alpha), axis=2)


def write_packed(path, values):
    """Ten bits a value without padding: a TIFF of their bytes, with its tags changed."""
    bits = np.unpackbits(values.astype(">u2").view(np.uint8).reshape(12, 16, 2), axis=2)[..., 6:]
    tiff(path, np.packbits(bits.reshape(12, -1), axis=1), photometric="minisblack")
    with tifffile.TiffFile(path, mode="r+b") as file:
        file.pages[0].tags["ImageWidth"].overwrite(16)
        file.pages[0].tags["BitsPerSample"].overwrite(10)


FILES = {
    "12in16.png": (lambda p: png(p, DEEP), RGB),
    "12in16grey.png": (lambda p: png(p, DEEP[..., 0]), GREY),
    "16.png": (lambda p: png(p, RGB.astype(np.uint16) * 257), RGB),
    "opaque.png": (lambda p: png(p, rgba(OPAQUE)), RGB),
    "clear.png": (lambda p: png(p, rgba(CLEAR)), np.full_like(RGB, 255)),
    "12in16.jp2": (lambda p: p.write_bytes(imagecodecs.jpeg2k_encode(DEEP, level=0)), RGB),
    "12in16.ppm": (lambda p: png(p, DEEP), RGB),
    "8.jp2": (lambda p: p.write_bytes(imagecodecs.jpeg2k_encode(RGB, level=0)), RGB),
    "8.png": (lambda p: Image.fromarray(RGB).save(p), RGB),
    "8a.png": (lambda p: Image.fromarray(np.dstack((RGB, GREY[..., 0] * 0 + 255))).save(p), RGB),
    "8.tif": (lambda p: tiff(p, RGB), RGB),
    "lzw.tif": (lambda p: tiff(p, DEEP, compression="lzw", predictor=True), RGB),
    "planes.tif": (lambda p: tiff(p, DEEP.transpose(2, 0, 1), planarconfig="separate"), RGB),
    "alpha.tif": (lambda p: tiff(p, rgba(OPAQUE), extrasamples=["unassalpha"]), RGB),
    "clear.tif": (
        lambda p: tiff(p, rgba(CLEAR), extrasamples=["unassalpha"]),
        np.full_like(RGB, 255),
    ),
    "grey.tif": (lambda p: tiff(p, DEEP[..., 0], photometric="minisblack"), GREY),
    "white.tif": (lambda p: tiff(p, ~DEEP[..., 0] & 4095, photometric="miniswhite"), GREY),
    "10packed.tif": (lambda p: write_packed(p, DEEP[..., 0] >> 2), GREY),
    "shares.tif": (lambda p: tiff(p, RGB.astype(np.float32) / 255), RGB),
    "floats.tif": (lambda p: tiff(p, RGB.astype(np.float32) * 16), RGB),
    "32.tif": (lambda p: tiff(p, RGB.astype(np.uint32) << 24), RGB),
    "big.tif": (lambda p: tiff(p, DEEP, bigtiff=True, byteorder=">"), RGB),
}


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")  # Pillow, of a BigTIFF
@pytest.mark.parametrize("name", FILES)
def test_every_depth_and_form_gives_the_pixels_of_8_bits(tmp_path, name):
    write, expected = FILES[name]
    write(tmp_path / name)
    np.testing.assert_array_equal(read_rgb(tmp_path / name), expected)
    np.testing.assert_array_equal(read_bgr(str(tmp_path / name)), expected[..., ::-1])
    assert image_size(tmp_path / name) == (16, 12)
    assert list_pages(tmp_path / name) == [ImageSource(tmp_path / name)]


@pytest.mark.parametrize("name", ["cmyk.jpg", "rgb.jpg", "grey.jpg", "palette.png", "rgb.webp"])
def test_8_bits_are_what_detectron2_reads(tmp_path, name):
    from detectron2.data.detection_utils import read_image

    mode = {"cmyk": "CMYK", "grey": "L", "palette": "P"}.get(name.split(".")[0], "RGB")
    Image.fromarray(RGB).convert(mode).save(tmp_path / name)
    np.testing.assert_array_equal(read_bgr(tmp_path / name), read_image(tmp_path / name, "BGR"))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_in_every_format(tmp_path, orientation):
    from detectron2.data.detection_utils import read_image

    turned = Image.fromarray(RGB)
    exif = turned.getexif()
    exif[0x0112] = orientation
    turned.save(tmp_path / "8.png", exif=exif)
    expected = read_image(tmp_path / "8.png", "RGB")
    tags = [(0x0112, 3, 1, orientation, True)]
    tiff(tmp_path / "8.tif", RGB, extratags=tags)
    tiff(tmp_path / "12.tif", DEEP, extratags=tags)
    for name in ("8.png", "8.tif", "12.tif"):
        np.testing.assert_array_equal(read_rgb(tmp_path / name), expected)
        assert image_size(tmp_path / name) == expected.shape[1::-1]
        assert ("EXIF" in explain_turn(tmp_path / name, 16, 12)) == (orientation >= 5)


def test_training_and_counting_read_the_same(tmp_path):
    ramp = np.tile(np.arange(1024, dtype=np.uint16), (4, 1))  # 10 bits in 16
    png(tmp_path / "ramp.png", ramp)
    png(tmp_path / "clear.png", rgba(CLEAR))
    for name, mean in (("ramp.png", 127.5), ("clear.png", 255)):
        counted = read_bgr(tmp_path / name)
        assert counted.mean() == mean
        for order, pixels in (("BGR", counted), ("RGB", counted[..., ::-1])):
            np.testing.assert_array_equal(ImageReader(order)(str(tmp_path / name)), pixels)
        assert ImageReader("L")(str(tmp_path / name)).mean() == mean


def test_a_url_is_read_as_a_file(tmp_path, monkeypatch):
    monkeypatch.setenv("FVCORE_CACHE", str(tmp_path))
    name = load_smears(1, seed=1, height=20, width=30)[0]["file_name"]
    assert read_bgr(name).shape == (20, 30, 3) and image_size(name) == (30, 20)
    np.testing.assert_array_equal(ImageReader("BGR")(name), read_bgr(name))


def test_a_photograph_of_a_telephone(tmp_path):
    (tmp_path / "photo.HEIC").write_bytes(base64.b64decode(HEIC))
    photo = read_rgb(tmp_path / "photo.HEIC")
    assert photo.shape == (48, 64, 3)
    np.testing.assert_allclose(photo.mean((0, 1)), (200, 100, 50), atol=4)


@pytest.mark.parametrize(
    ("brightest", "stated", "eighth_bit"),
    [(255, None, 255), (256, None, 64), (4095, None, 255), (5000, None, 78), (900, 12, 56)],
)
def test_full_scale_is_that_of_the_depth_not_of_the_image(brightest, stated, eighth_bit):
    values = np.array([0, brightest], np.uint16)
    assert to_8_bits(values, stated).tolist() == [0, eighth_bit]


@pytest.mark.parametrize("value", [-1.0, np.nan, np.inf])
def test_what_is_no_brightness_is_refused(tmp_path, value):
    image = RGB.astype(np.float32)
    image[3, 3, 0] = value
    tiff(tmp_path / "a.tif", image)
    with pytest.raises(UnreadableImageError, match=r"a\.tif holds negative or not finite"):
        read_rgb(tmp_path / "a.tif")


def ome(path, values, **metadata):
    tiff(path, values, photometric="minisblack", metadata=metadata, ome=True)


def imagej(path, axes):
    metadata = {"axes": axes}
    tiff(path, PLANES, photometric="minisblack", imagej=True, metadata=metadata)


def write_copies(path, kind):
    with tifffile.TiffWriter(path) as file:
        file.write(RGB, photometric="rgb", metadata=None)
        file.write(RGB[::2, ::2], photometric="rgb", metadata=None, subfiletype=kind)


MIRRORED = RGB[:, ::-1]
PAGES = {
    "colour.tif": (lambda p: tiff(p, np.stack((RGB, MIRRORED))), [RGB, MIRRORED]),
    "deep.tif": (lambda p: tiff(p, np.stack((DEEP, DEEP[:, ::-1]))), [RGB, MIRRORED]),
    "times.tif": (lambda p: imagej(p, "TYX"), [np.dstack([one] * 3) for one in PLANES]),
    "channels.tif": (lambda p: imagej(p, "CYX"), [RGB]),
    "lost.ome.tif": (lambda p: tiff(p, PLANES, photometric="minisblack"), [RGB]),
    "order.ome.tif": (
        lambda p: ome(p, PLANES[::-1], axes="CYX", Channel={"Name": ["Blue", "Green", "Red"]}),
        [RGB],
    ),
    "both.ome.tif": (
        lambda p: ome(
            p,
            np.stack((PLANES, PLANES[..., ::-1])).astype(np.uint16),
            axes="TCYX",
            SignificantBits=8,
        ),
        [RGB, MIRRORED],
    ),
    "dim.ome.tif": (
        lambda p: ome(p, PLANES.astype(np.uint16), axes="CYX", SignificantBits=12),
        [RGB // 16],
    ),
    "thumbnail.tif": (lambda p: write_copies(p, 1), [RGB]),
    "pyramid.tif": (lambda p: write_copies(p, 0), [RGB]),
}


@pytest.mark.parametrize("name", PAGES)
def test_pages_are_fields_or_the_colours_of_one(tmp_path, name):
    write, expected = PAGES[name]
    write(tmp_path / name)
    sources = list_pages(tmp_path / name)
    assert len(sources) == len(expected)
    for source, pixels in zip(sources, expected, strict=True):
        np.testing.assert_array_equal(read_rgb(source), pixels)
        assert image_size(source) == (16, 12)
    names = [f"{name}#{i}" for i in range(1, len(expected) + 1)] if expected[1:] else [name]
    assert [source.name for source in sources] == names


def animate(path):
    frames = [Image.fromarray(RGB), Image.fromarray(RGB[::-1].copy())]
    frames[0].save(path, save_all=True, append_images=frames[1:])


def write_both(path, second):
    with tifffile.TiffWriter(path) as file:
        for image in (RGB, second):
            file.write(image, photometric="rgb" if image.ndim == 3 else None, metadata=None)


REFUSED = {
    "z.tif": (lambda p: imagej(p, "ZYX"), "3 planes of focus"),
    "stain.ome.tif": (
        lambda p: ome(p, PLANES, axes="CYX", Channel={"Name": ["DAPI", "GFP", "Red"]}),
        r"3 channels \(dapi, gfp, red\)",
    ),
    "four.ome.tif": (lambda p: ome(p, np.stack((*PLANES, PLANES[0])), axes="CYX"), "4 channels"),
    "grey.tif": (lambda p: tiff(p, PLANES[:2], photometric="minisblack"), "does not say whether"),
    "sizes.tif": (lambda p: write_both(p, RGB[:5, :9].copy()), "different sizes"),
    "mask.tif": (lambda p: write_both(p, GREY[..., 0]), "different sizes or kinds"),
    "samples.tif": (
        lambda p: tiff(
            p, np.dstack((DEEP, DEEP[..., :2])), photometric="minisblack", planarconfig="contig"
        ),
        "5 channels in a pixel",
    ),
    "slide.tif": (
        lambda p: tiff(p, np.stack((RGB, RGB)), description="Aperio Image Library v1|a = 1"),
        "scanned slide",
    ),
    "a.gif": (animate, "animation"),
    "a.webp": (animate, "animation"),
    "a.png": (animate, "animation"),
    "large.tif": (
        lambda p: tiff(
            p,
            np.zeros((9500, 9500, 3), np.uint8)[:, :, 0] > 0,
            photometric="minisblack",
            compression="zlib",
        ),
        r"more than 89 megapixels \(9500x9500\)",
    ),
    "cut.tif": (None, "replace it"),
    "cut.png": (None, "replace it"),
    "text.jpg": (lambda p: p.write_text("nothing"), "replace it"),
    "empty.tif": (lambda p: p.write_bytes(b"II*\0"), "replace it"),
}


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_one_whole_field_has_an_error_that_names_it(tmp_path, name):
    write, message = REFUSED[name]
    path = tmp_path / name
    if write is None:
        {"tif": tiff, "png": png}[name[-3:]](path, DEEP)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    else:
        write(path)
    assert list_pages(path) == [ImageSource(path)]
    for read in (read_rgb, ImageReader("BGR")):
        with pytest.raises(UnreadableImageError, match=message) as error:
            read(path)
        assert name in str(error.value)


def test_a_record_that_names_a_file_of_several_images_is_refused(tmp_path):
    tiff(tmp_path / "two.tif", np.stack((RGB, RGB)))
    with pytest.raises(UnreadableImageError, match=r"two\.tif holds 2 images"):
        ImageReader("BGR")(str(tmp_path / "two.tif"))
    with pytest.raises(UnreadableImageError, match="no page 3"):
        read_rgb(ImageSource(tmp_path / "two.tif", 3))


def test_a_missing_package_is_named_with_the_remedy(tmp_path, monkeypatch):
    tiff(tmp_path / "lzw.tif", DEEP, compression="lzw")
    (tmp_path / "photo.heic").write_bytes(base64.b64decode(HEIC))

    def message(name):
        with pytest.raises(UnreadableImageError, match=name) as error:
            read_rgb(tmp_path / name)
        return str(error.value).partition(f"{name} ")[2]

    needs = "needs {0}, which is not installed: pip install {0}"
    monkeypatch.setattr(tifffile.tifffile, "imagecodecs", None)
    monkeypatch.setattr(tifffile.TIFF.DECOMPRESSORS, "_codecs", {})
    assert message("lzw.tif") == needs.format("imagecodecs")
    monkeypatch.delitem(sys.modules, "bccd.data.images.tiff", raising=False)
    monkeypatch.setitem(sys.modules, "tifffile", None)
    assert message("lzw.tif") == needs.format("tifffile")
    pillow_images.register_heif.cache_clear()
    monkeypatch.setitem(sys.modules, "pi_heif", None)
    assert message("photo.heic") == needs.format("pi_heif")


def test_a_missing_image(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.png does not exist; is DETECTRON2"):
        ImageReader("BGR")(str(tmp_path / "none.png"))


def test_plain_files_need_neither_pytorch_nor_detectron2(tmp_path):
    Image.fromarray(RGB).save(tmp_path / "a.png")
    code = (
        "import sys; from bccd.counting.inputs import find_images\n"
        "from bccd.data.images import decoding\n"
        f"decoding.read_bgr(find_images([{str(tmp_path)!r}]).images[0])\n"
        "print(*sorted({'torch', 'detectron2', 'tifffile'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
