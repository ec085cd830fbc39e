"""What a person does in the page, done by a browser."""

import csv
import io

import cv2
import pytest
from editing import Hands, lonely, middle
from serving import Server

pytestmark = pytest.mark.timeout(600)


def rows_of(server):
    return {row["id"]: row for row in server.json("/api/fields")["rows"]}


def test_dropped_images_are_counted_corrected_and_there_after_a_kill(window, smears, tmp_path):
    study = tmp_path / "dropped"
    with Server(study) as server:
        window.goto(server.url)
        window.locator("file-drop[data-ready=true] input.files").set_input_files(smears)
        window.get_by_text(f"Images added: {len(smears)}.").wait_for()
        server.wait_until_counted(len(smears))
        window.wait_for_selector("field-gallery .card:nth-child(5)")
        assert window.locator("field-gallery .card").count() == len(smears)
        window.locator("field-gallery .card a").first.click()
        window.wait_for_selector("field-editor[data-ready=true]")
        hands = Hands(window, server.url, 1)
        cell = lonely(hands.boxes())
        before = hands.count(cell["name"])
        hands.click(*middle(cell["box"]))
        hands.press("Delete")
        assert hands.count(cell["name"]) == before - 1
        hands.settle()
        counts = rows_of(server)[1]["counts"]
        assert counts[cell["name"]] == before - 1
        window.goto("about:blank")
        server.stop(kill=True)
    with Server(study) as server:
        assert rows_of(server)[1]["counts"] == counts
        assert len(rows_of(server)) == len(smears)
        hands = Hands(window, server.url, 1)
        assert hands.count(cell["name"]) == before - 1
        hands.press("Control+z")
        window.wait_for_function(
            "n => document.querySelector('field-editor').field.counted.length === n",
            arg=sum(counts.values()) + 1,
        )
        assert rows_of(server)[1]["counts"][cell["name"]] == before
        window.goto("about:blank")


def test_a_refused_file_is_named_with_its_reason_as_text(server, window, tmp_path):
    name = "<img src=x onerror=alert(1)>.png"
    window.goto(server.url)
    chooser = window.locator("file-drop[data-ready=true] input.files")
    chooser.set_input_files({"name": name, "mimeType": "image/png", "buffer": b"no image"})
    refused = window.locator("file-drop .refused li")
    refused.wait_for()
    assert name.split(">")[0] in refused.inner_text()
    assert window.locator("file-drop .refused img").count() == 0
    assert len(rows_of(server)) == 5


def test_a_field_that_is_not_there_is_said_to_be_so(server, window):
    window.goto(f"{server.url}/fields/999")
    window.get_by_text("the study has no field 999").wait_for()
    assert window.locator("field-editor").count() == 0


def test_an_unreadable_field_has_no_counts_in_the_editor(window, smears, tmp_path):
    (tmp_path / "images").mkdir()
    _, content = cv2.imencode(".jpg", cv2.imread(str(smears[0])))
    (tmp_path / "images" / "cut.jpg").write_bytes(content.tobytes()[: len(content) // 2])
    with Server(tmp_path / "study", str(tmp_path / "images")) as server:
        server.wait_for("/api/fields", lambda _: rows_of(server)[1]["status"] == "failed")
        window.goto(f"{server.url}/fields/1")
        window.wait_for_selector("field-editor[data-ready=true]")
        counts = window.locator("field-editor output.count").all_inner_texts()
        assert set(counts) == {"–"}
        window.goto("about:blank")


def test_the_model_page_says_from_which_scores_cells_count(server, window):
    window.goto(f"{server.url}/model")
    classes = server.json("/api/fields")["classes"]
    scores = ", ".join(f"{cls['name']} {cls['threshold']:.3f}" for cls in classes)
    window.get_by_text(f"counted from these scores on: {scores}.").wait_for()


def test_a_cell_is_moved_resized_and_given_another_class_with_the_mouse(server, window):
    hands = Hands(window, server.url, 2)
    cell = lonely(hands.boxes())
    x1, y1, x2, y2 = cell["box"]
    x, y = middle(cell["box"])
    other = "WBC" if cell["name"] != "WBC" else "RBC"
    counted = hands.count(other)

    hands.drag((x, y), (x + 9, y + 5))
    hands.settle()
    (moved,) = [box for box in hands.boxes() if box["origin"] == "changed"]
    assert moved["box"] == pytest.approx([x1 + 9, y1 + 5, x2 + 9, y2 + 5], abs=1.5)

    hands.drag((x2 + 9, y2 + 5), (x2 + 21, y2 + 15))
    window.get_by_role("button", name=other).first.click()
    hands.settle()
    (resized,) = [box for box in hands.boxes() if box["origin"] == "changed"]
    assert resized["box"] == pytest.approx([x1 + 9, y1 + 5, x2 + 21, y2 + 15], abs=2)
    assert resized["name"] == other and hands.count(other) == counted + 1
    assert rows_of(server)[2]["corrected"] == 3

    for _ in range(3):
        window.get_by_role("button", name="Undo").click()
        hands.settle()
    assert sorted(box["box"] for box in hands.boxes()) == sorted(
        [*(box["box"] for box in hands.boxes() if box["id"] != cell["id"]), cell["box"]]
    )
    assert window.get_by_role("button", name="Undo").is_disabled()


def test_boxes_are_drawn_and_several_are_deleted_as_one(server, window):
    hands = Hands(window, server.url, 3)
    before = len(hands.boxes())
    hands.press("b", "3")
    hands.drag((4, 4), (24, 22))
    hands.drag((30, 4), (50, 22))
    hands.settle()
    added = [box for box in hands.boxes() if box["origin"] == "added"]
    assert [box["name"] for box in added] == ["Platelets", "Platelets"]
    assert added[0]["box"] == pytest.approx([4, 4, 24, 22], abs=1)

    hands.press("v")
    hands.drag((1, 2), (52, 30))
    assert {box["id"] for box in added} <= set(hands.run("[...field.selected]"))
    hands.run("editor.select(field.counted.filter(b => b.origin === 'added').map(b => b.id))")
    hands.press("Delete")
    hands.settle()
    assert len(hands.boxes()) == before
    hands.press("Control+z")
    hands.settle()
    assert len(hands.boxes()) == before + 2
    hands.press("Control+z", "Control+z")
    hands.settle()


def test_everything_is_done_with_the_keyboard_alone(server, window):
    hands = Hands(window, server.url, 4)
    before, wbc = len(hands.boxes()), hands.count("WBC")
    hands.press("2", "i", "ArrowRight", "Shift+ArrowDown", "Alt+Shift+ArrowRight")
    hands.settle()
    (added,) = [box for box in hands.boxes() if box["origin"] == "added"]
    width, height = (added["box"][k + 2] - added["box"][k] for k in (0, 1))
    assert added["name"] == "WBC" and hands.count("WBC") == wbc + 1
    assert width - height == pytest.approx(10, abs=0.01)

    hands.press("1")
    assert hands.count("WBC") == wbc
    hands.press("Delete")
    hands.settle()
    assert len(hands.boxes()) == before

    hands.press("Escape", "n")
    (first,) = hands.run("[...field.selected]")
    scores = {box["id"]: box["score"] for box in hands.boxes()}
    assert scores[first] == min(scores.values())
    assert str(scores[first])[:4] in window.locator("field-editor [aria-live]").inner_text()
    hands.press("k")
    hands.settle()
    (second,) = hands.run("[...field.selected]")
    assert scores[second] == sorted(scores.values())[1]
    assert [box["score"] for box in hands.boxes() if box["origin"] == "confirmed"] == [
        scores[first]
    ]


def test_behind_the_help_no_key_corrects_and_escape_closes_it(server, window):
    hands = Hands(window, server.url, 4)
    before = len(hands.boxes())
    hands.press("n", "?", "Delete", "a")
    window.get_by_role("dialog", name="Keys").wait_for()
    assert len(hands.boxes()) == before and rows_of(server)[4]["reviewed_by"] is None
    hands.press("Escape")
    assert not window.get_by_role("dialog", name="Keys").is_visible()
    assert len(hands.run("[...field.selected]")) == 1


def test_cells_in_a_drawn_region_are_counted_apart(server, window):
    hands = Hands(window, server.url, 5)
    hands.press("r")
    corners = [(20.0, 20.0), (300.0, 25.0), (310.0, 250.0), (25.0, 240.0)]
    for corner in corners:
        hands.click(*corner)
    hands.press("Enter")
    hands.settle()
    (region,) = server.json("/api/fields/5")["regions"]
    inside = [
        box
        for box in hands.boxes()
        if 28 < middle(box["box"])[0] < 295 and 28 < middle(box["box"])[1] < 235
    ]
    assert inside and sum(region["counts"].values()) >= len(inside)
    shown = window.locator("field-editor .region").inner_text()
    for name, count in region["counts"].items():
        assert f"{name} {count}" in shown
    hands.press("r")
    hands.drag((50, 50), (200, 60), (190, 200), (60, 190))
    hands.settle()
    assert len(server.json("/api/fields/5")["regions"]) == 2


def test_a_threshold_counts_again_at_once_and_for_all_fields(server, window):
    hands = Hands(window, server.url, 1)
    scores = [box["score"] for box in hands.boxes() if box["name"] == "RBC"]
    limit = sorted(scores)[len(scores) // 2]
    slider = window.get_by_role("slider", name="Lowest score of RBC")
    others = rows_of(server)[2]["counts"]["RBC"]
    slider.evaluate(
        "(slider, value) => { slider.value = value; slider.dispatchEvent(new Event('input')); }",
        str(round(limit + 0.011, 2)),
    )
    assert hands.count("RBC") == sum(score >= round(limit + 0.011, 2) for score in scores)
    with window.expect_response("**/api/thresholds"):
        slider.dispatch_event("change")
    server.wait_for("/api/fields", lambda _: rows_of(server)[2]["counts"]["RBC"] < others)
    with window.expect_response("**/api/thresholds"):
        window.get_by_role("button", name="Thresholds of the model").click()
    server.wait_for("/api/fields", lambda _: rows_of(server)[2]["counts"]["RBC"] == others)


def test_accepting_a_field_leads_to_the_next_one(server, window):
    hands = Hands(window, server.url, 1)
    hands.press("a")
    window.wait_for_selector("field-editor[field='2'][data-ready=true]")
    row = rows_of(server)[1]
    assert row["reviewed_by"]
    hands.press("PageUp")
    window.wait_for_selector("field-editor[field='1']")
    window.get_by_text(f"Accepted by {row['reviewed_by']}").wait_for()
    window.get_by_role("button", name="Open it again").click()
    hands.settle()
    assert rows_of(server)[1]["reviewed_by"] is None


def test_a_field_that_somebody_else_changed_is_loaded_anew(server, window):
    hands = Hands(window, server.url, 3)
    window.evaluate("clearInterval(document.querySelector('field-editor').poll)")
    cell = lonely(hands.boxes())
    version = rows_of(server)[3]["version"]
    stroke = b'{"changes": [{"do": "add", "name": "RBC", "box": [9, 9, 30, 30]}], "version": %d}'
    status, _ = server.post("/api/fields/3/edit", stroke % version)
    assert status == 200
    hands.click(*middle(cell["box"]))
    hands.press("Delete")
    window.get_by_text("Somebody else has changed this field").wait_for()
    hands.settle()
    assert [box["origin"] for box in hands.boxes()].count("added") == 1
    assert cell["id"] in {box["id"] for box in hands.boxes()}
    server.post("/api/fields/3/undo")
    window.evaluate("document.querySelector('field-editor').follow()")
    window.wait_for_function(
        "document.querySelector('field-editor').field.counted.every(b => b.origin !== 'added')"
    )


def test_the_table_is_filtered_copied_and_taken_home(server, window, tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    window.goto(f"{server.url}/results")
    window.wait_for_selector("body[data-rows='5']")
    window.get_by_role("textbox", name="Field Filter Input").fill("field_3")
    window.wait_for_function(
        "document.querySelectorAll('.ag-center-cols-container [role=row]').length === 1"
    )
    window.get_by_role("button", name="Copy the table").click()
    window.get_by_text("Rows copied: 1.").wait_for()
    lines = list(
        csv.reader(io.StringIO(window.evaluate("navigator.clipboard.readText()")), delimiter="\t")
    )
    (copied,) = lines[1:]
    counts = rows_of(server)[3]["counts"]
    assert copied[0] == "field_3.png"
    assert copied[lines[0].index("RBC")] == str(counts["RBC"])

    with window.expect_download() as download:
        window.get_by_role("link", name="Spreadsheet (XLSX)").click()
    download.value.save_as(tmp_path / "counts.xlsx")
    book = openpyxl.load_workbook(tmp_path / "counts.xlsx")
    cells = {cell.value for sheet in book for row in sheet.iter_rows() for cell in row}
    assert {"field_1.png", "field_5.png"} <= cells


def test_the_page_speaks_vietnamese_and_is_dark_where_one_wants(server, window):
    window.goto(f"{server.url}/results")
    window.get_by_role("link", name="Tiếng Việt").click()
    window.get_by_role("heading", name="Kết quả").wait_for()
    assert window.locator("html").get_attribute("lang") == "vi"
    window.get_by_role("link", name="Nền tối").click()
    window.wait_for_selector("body.body--dark")
    Hands(window, server.url, 1)
    assert window.get_by_role("button", name="Duyệt vi trường").is_visible()
    window.context.clear_cookies()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("path", ["/", "/fields/1", "/results", "/model"])
def test_axe_finds_nothing(server, window, path, theme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    window.goto(f"{server.url}/preferences?theme={theme}&back={path}")
    ready = {"/": "field-gallery[data-ready=true] .card", "/fields/1": "field-editor[data-ready]"}
    ready |= {"/results": "body[data-rows='5'] .plain", "/model": "h1"}
    window.wait_for_selector(ready[path])
    window.wait_for_selector(f"body.body--{theme}")
    found = axe.run(window).response["violations"]
    assert [(rule["id"], [node["html"] for node in rule["nodes"]]) for rule in found] == []


def test_of_a_large_field_only_what_is_in_sight_is_loaded(server, window, smears):
    large = cv2.resize(cv2.imread(str(smears[0])), (4096, 3072))
    _, content = cv2.imencode(".jpg", large)
    body = content.tobytes()
    status, answer = server.post("/api/uploads?name=large.jpg", body)
    assert status == 200, answer
    (number,) = answer["ids"]
    asked = []
    window.on(
        "request", lambda request: asked.append(request.url) if "/tiles/" in request.url else None
    )
    hands = Hands(window, server.url, number)
    window.wait_for_function("document.querySelector('field-editor').editor.tiles.tiles.size > 0")
    window.wait_for_function("document.querySelector('field-editor').editor.tiles.loading === 0")
    levels = {url.split("/tiles/")[1].split("/")[0] for url in asked}
    assert "0" not in levels and len(asked) <= 12
    hands.run("(editor.view.zoom(1 / editor.view.scale, 100, 100), editor.draw(), 1)")
    window.wait_for_function("document.querySelector('field-editor').editor.tiles.loading === 0")
    window.wait_for_timeout(500)
    finest = [url for url in asked if "/tiles/0/" in url]
    assert 0 < len(finest) < 20  # of 48

    window.on("dialog", lambda dialog: dialog.accept())
    window.get_by_role("button", name="Remove this field").click()
    window.wait_for_url(f"{server.url}/")
    assert number not in rows_of(server)


def test_the_model_page_says_why_it_cannot_retrain(server, window):
    window.goto(f"{server.url}/model")
    window.get_by_role("button", name="Retrain on my corrections").click()
    window.get_by_role("status").filter(has_text="accept").first.wait_for()
    assert [job["kind"] for job in server.json("/api/jobs")["jobs"]].count("retrain") == 0


def test_the_border_is_a_setting_that_counts_again(server, window):
    before = sum(row["counts"]["RBC"] for row in rows_of(server).values() if row["counts"])
    window.goto(f"{server.url}/model")
    window.get_by_label("Cells that the border cuts").select_option("inside")
    window.get_by_role("button", name="Save and count").click()
    server.wait_for(
        "/api/fields",
        lambda _: (
            before > sum(row["counts"]["RBC"] for row in rows_of(server).values() if row["counts"])
        ),
    )


@pytest.mark.slow
def test_a_model_is_retrained_on_corrections_and_counts_from_then_on(window, smears, tmp_path):
    with Server(tmp_path / "retrained", str(smears[0].parent)) as server:
        server.wait_until_counted(len(smears))
        for number, row in rows_of(server).items():
            accept = b'{"changes": [{"do": "accept"}], "version": %d}' % row["version"]
            assert server.post(f"/api/fields/{number}/edit", accept)[0] == 200
        window.goto(f"{server.url}/model")
        window.get_by_label("What to learn").select_option("thresholds")
        window.get_by_role("button", name="Retrain on my corrections").click()
        use = window.get_by_role("button", name="Count with it")
        use.wait_for(timeout=300_000)
        assert window.get_by_role("row", name="Platelets").first.is_visible()
        use.click()
        window.get_by_role("heading", name="Card of the model my_model").wait_for()
        assert window.locator(".setting select").first.input_value() == "models/my_model"
        window.goto("about:blank")  # before the server ends, which the page would miss
