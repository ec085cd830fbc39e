"""Hands on the editor, in a browser that Playwright drives."""

import json


class Hands:
    """The editor of a page.

    Attributes:
        page: of Playwright.
    """

    def __init__(self, page, url: str, field: int) -> None:
        self.page = page
        page.goto(f"{url}/fields/{field}")
        page.wait_for_selector("field-editor[data-ready=true]")
        page.locator("field-editor .surface").focus()

    def run(self, script: str):
        """The value of JavaScript in which ``editor`` and ``field`` are known."""
        start = "const {editor} = document.querySelector('field-editor'); const {field} = editor;"
        return self.page.evaluate(f"() => {{ {start} return {script}; }}")

    def boxes(self) -> list[dict]:
        """The boxes that count."""
        return json.loads(self.run("JSON.stringify(field.counted)"))

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Where a point of the image is in the window."""
        frame = self.page.locator("field-editor .surface").bounding_box()
        left, top = self.run(f"editor.view.toScreen({x}, {y})")
        return frame["x"] + left, frame["y"] + top

    def count(self, name: str) -> int:
        """The count of a class, as the panel shows it."""
        return int(self.page.locator(f"field-editor output[data-class='{name}']").inner_text())

    def press(self, *keys: str) -> None:
        """Press keys, one after another."""
        for key in keys:
            self.page.keyboard.press(key)

    def drag(self, *points: tuple[float, float]) -> None:
        """Press at the first point of the image, move over the others, let go."""
        mouse = self.page.mouse
        mouse.move(*self.place(*points[0]))
        mouse.down()
        for point in points[1:]:
            mouse.move(*self.place(*point), steps=4)
        mouse.up()

    def click(self, x: float, y: float, **options) -> None:
        """Click a point of the image."""
        self.page.mouse.click(*self.place(x, y), **options)

    def settle(self) -> None:
        """Wait until the server has stored every stroke."""
        self.run("editor.arrows.settle()")
        self.page.wait_for_selector("field-editor[data-waiting='0']")


def lonely(boxes: list[dict]) -> dict:
    """A box whose centre no other box covers, to click at."""

    def is_covered(box):
        x, y = middle(box["box"])
        others = (other["box"] for other in boxes if other["id"] != box["id"])
        return any(a - 6 <= x <= c + 6 and b - 6 <= y <= d + 6 for a, b, c, d in others)

    return next(box for box in boxes if not is_covered(box))


def middle(box: list[float]) -> tuple[float, float]:
    """The centre of a box."""
    x1, y1, x2, y2 = box
    return (x1 + x2) / 2, (y1 + y2) / 2
