"""The pictures of docs/serve.md and of the README: each is of the real page.

BCCD_PICTURES=docs/images/serve python -m pytest tests/server/test_pictures.py

takes them of thirty fields of BCCD for the documentation; without the variable, they are taken of a
few smears, looked at by the test, and thrown away.
"""

import io
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from editing import Hands, middle
from PIL import Image
from serving import Server

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "docs" / "serve.md", ROOT / "README.md")
FIELDS = 30
FILM = "thirty_fields.webp"
FILM_SIZE = (860, 538)
MOST_BYTES = 1_000_000  # of the film

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def wanted():
    """Folder that the pictures are for; None: nobody keeps them."""
    return os.environ.get("BCCD_PICTURES")


@pytest.fixture(scope="module")
def fields(wanted, request, tmp_path_factory):
    """Paths of the images."""
    if not wanted:
        return request.getfixturevalue("smears")
    source = request.getfixturevalue("bccd_root") / "JPEGImages"
    folder = tmp_path_factory.mktemp("images")
    paths = sorted(source.glob("*.jpg"))
    return [shutil.copy(path, folder) for path in paths[:: len(paths) // FIELDS][:FIELDS]]


@pytest.fixture(scope="module")
def study(tmp_path_factory, fields):
    """A server of a study that is called smear_07."""
    with Server(tmp_path_factory.mktemp("pictures") / "smear_07") as server:
        yield server


class Camera:
    """Keeps pictures of a page as WebP, and the frames of a film."""

    def __init__(self, page, folder: Path) -> None:
        self.page, self.folder = page, folder
        self.frames, self.durations = [], []

    def shoot(self) -> Image.Image:
        """The page as it is now."""
        self.page.wait_for_timeout(300)
        return Image.open(io.BytesIO(self.page.screenshot())).convert("RGB")

    def take(self, name: str) -> None:
        """Keep a picture."""
        image = self.shoot()
        assert np.asarray(image).std() > 10, f"{name} is empty"
        image.save(self.folder / f"{name}.webp", quality=82, method=6)

    def film(self, seconds: float) -> None:
        """Show the page as it is for some time."""
        self.frames.append(self.shoot().resize(FILM_SIZE, Image.Resampling.LANCZOS))
        self.durations.append(round(1000 * seconds))

    def develop(self) -> None:
        """Write the film."""
        first, *others = self.frames
        first.save(
            self.folder / FILM,
            save_all=True,
            append_images=others,
            duration=self.durations,
            loop=0,
            quality=60,
            method=6,
        )


def test_the_pictures_of_the_documentation(study, fields, window, wanted, tmp_path):
    folder = Path(wanted or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    camera = Camera(window, folder)
    window.goto(f"{study.url}/preferences?who=Lan&theme=light&language=en")
    drop_in(study, fields, window, camera)
    correct(study, window, camera)
    review(study, window, range(2, len(fields)))
    window.goto(study.url)
    window.wait_for_selector("field-gallery .card:nth-child(5)")
    window.wait_for_timeout(1500)  # for the small pictures
    camera.take("gallery")
    camera.film(1.5)
    window.goto(f"{study.url}/results")
    window.wait_for_selector(f"body[data-rows='{len(fields)}'] .plain")
    camera.take("results")
    camera.film(2.5)
    window.goto(f"{study.url}/model")
    window.get_by_role("button", name="Retrain on my corrections").wait_for()
    camera.take("model")
    window.goto(f"{study.url}/preferences?theme=dark&language=vi&back=/fields/1")
    Hands(window, study.url, 1)
    camera.take("dark_vietnamese")
    camera.develop()
    assert (folder / FILM).stat().st_size < MOST_BYTES
    shown = {
        name for page in PAGES for name in re.findall(r"images/serve/([\w.]+)", page.read_text())
    }
    assert shown == {path.name for path in folder.iterdir()}


def drop_in(study, fields, window, camera):
    """Drop the images and wait until they are counted."""
    window.wait_for_selector("file-drop[data-ready=true]")
    camera.film(1.2)
    window.locator("file-drop input.files").set_input_files(fields)
    window.wait_for_selector("job-list .job")
    window.wait_for_selector("field-gallery .card:nth-child(5)")
    camera.take("counting")
    camera.film(1.2)
    study.wait_until_counted(len(fields))
    window.wait_for_selector("job-list[data-active='0']", state="attached")
    window.goto(study.url)
    window.wait_for_selector("field-gallery .card:nth-child(5)")
    window.wait_for_timeout(1500)
    camera.film(1.5)


def correct(study, window, camera):
    """Go through a field: judge, change, add, delete, draw a region, accept."""
    hands = Hands(window, study.url, 1)
    camera.film(1.5)
    hands.press("n")
    camera.take("uncertain")
    camera.film(1.2)
    for key in ("k", "k", "Delete"):
        hands.press(key)
        camera.film(0.8)
    hands.press("Escape", "0", "b")
    x, y = hands.run("[field.width * 0.8, field.height * 0.86]")
    hands.drag((x, y), (x + field_share(hands), y + field_share(hands)))
    camera.film(1)
    hands.press("Control+z")
    hands.settle()
    hands.press("v", "Escape")
    box = max(hands.boxes(), key=lambda box: box["score"] or 0)
    hands.click(*middle(box["box"]))
    camera.film(0.8)
    hands.press("Escape", "r")
    width, height = hands.run("[field.width, field.height]")
    corners = [(0.12, 0.2), (0.6, 0.12), (0.85, 0.5), (0.55, 0.85), (0.15, 0.7)]
    for across, down in corners:
        hands.click(across * width, down * height)
    hands.press("Enter")
    hands.settle()
    camera.take("region")
    camera.film(1.6)
    hands.press("a")
    window.wait_for_selector("field-editor[field='2'][data-ready=true]")
    camera.film(1.2)


def field_share(hands):
    """A side of a box that is easily seen."""
    return hands.run("field.height") * 0.1


def review(study, window, numbers):
    """Look at most of the other fields, and accept them."""
    for number in list(numbers)[: 2 * len(numbers) // 3]:
        hands = Hands(window, study.url, number)
        if number % 3 == 0:
            hands.press("n", "Delete")
            hands.settle()
        hands.press("a")
        window.wait_for_function(
            "n => document.querySelector('field-editor').getAttribute('field') !== String(n)",
            arg=number,
        )
