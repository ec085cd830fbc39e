/** The buttons above the picture: each has a name, a key and a state that a screen reader hears. */

import { element, icon } from "../dom.js";

const ICONS = {
  select: "M5 3l14 8-6 2-3 6z",
  add: "M4 4h11v2H6v12h12v-9h2v11H4zM18 1h2v3h3v2h-3v3h-2V6h-3V4h3z",
  region: "M12 2l9 6-3 12H7L3 9zm0 2.5L5.4 9.7 8.5 18h8l2.2-9z",
  pan: "M12 1l4 4h-3v6h6V8l4 4-4 4v-3h-6v6h3l-4 4-4-4h3v-6H5v3l-4-4 4-4v3h6V5H8z",
  undo: "M8 4v4h5a6 6 0 010 12H7v-2h6a4 4 0 000-8H8v4L2 9z",
  redo: "M16 4v4h-5a6 6 0 000 12h6v-2h-6a4 4 0 010-8h5v4l6-5z",
  remove: "M6 7h12l-1 14H7zM9 3h6l1 2h4v1H4V5h4z",
  uncertain:
    "M11 2h2v3.100a7 7 0 015.900 5.900H22v2h-3.100A7 7 0 0113 18.900V22h-2v-3.100A7 7 0 015.100 13H2v-2h3.100A7 7 0 0111 5.100zM12 7a5 5 0 100 10 5 5 0 000-10zm0 3a2 2 0 110 4 2 2 0 010-4z",
  keep: "M9 16.200L4.800 12l-1.400 1.400L9 19 21 7l-1.400-1.400z",
  boxes: "M12 5c5 0 9 4 10 7-1 3-5 7-10 7S3 15 2 12c1-3 5-7 10-7zm0 2a5 5 0 100 10 5 5 0 000-10zm0 2a3 3 0 110 6 3 3 0 010-6z",
  scores: "M4 5h6v14H8V7H4zm10 0h6v14h-6zm2 2v10h2V7z",
  grid: "M3 3h18v18H3zm2 2v4h4V5zm6 0v4h4V5zm6 0v4h2V5zM5 11v4h4v-4zm6 0v4h4v-4zm6 0v4h2v-4zM5 17v2h4v-2zm6 0v2h4v-2zm6 0v2h2v-2z",
  fit: "M3 3h7v2H5v5H3zm11 0h7v7h-2V5h-5zM3 14h2v5h5v2H3zm16 0h2v7h-7v-2h5z",
  in: "M11 5h2v6h6v2h-6v6h-2v-6H5v-2h6z",
  out: "M5 11h14v2H5z",
  help: "M11 17h2v2h-2zM12 4a5 5 0 015 5c0 3-4 3.500-4 6h-2c0-3.500 4-4 4-6a3 3 0 00-6 0H7a5 5 0 015-5z",
  previous: "M15 4l2 2-6 6 6 6-2 2-8-8z",
  next: "M9 4l8 8-8 8-2-2 6-6-6-6z",
};

export class Toolbar {
  /** @param {import("./editor.js").Editor} editor @param {Function} words */
  constructor(editor, words) {
    this.editor = editor;
    this.words = words;
    this.buttons = new Map();
    this.title = element("h1", { class: "title" });
    this.root = element(
      "div",
      { class: "toolbar", role: "toolbar", "aria-label": words("editor.tools") },
      this.group(
        this.button("previous", "PageUp", () => editor.otherField(-1)),
        this.title,
        this.button("next", "PageDown", () => editor.otherField(1)),
      ),
      this.group(
        this.button("select", "V", () => editor.setTool("select")),
        this.button("add", "B", () => editor.setTool("add")),
        this.button("region", "R", () => editor.setTool("region")),
        this.button("pan", "", () => editor.setTool("pan")),
      ),
      this.group(
        this.button("undo", "Ctrl+Z", () => editor.undo()),
        this.button("redo", "Ctrl+Y", () => editor.redo()),
      ),
      this.group(
        this.button("uncertain", "N", () => editor.nextUncertain(false), "labelled"),
        this.button("keep", "K", () => editor.keep(), "labelled"),
        this.button("remove", "Delete", () => editor.removeSelected(), "labelled"),
      ),
      this.group(
        this.button("boxes", "H", () => editor.toggleBoxes()),
        this.button("scores", "S", () => editor.toggleScores()),
        this.button("grid", "G", () => editor.toggleGrid()),
      ),
      this.group(
        this.button("out", "−", () => editor.zoom(0.8)),
        this.button("fit", "0", () => editor.fit()),
        this.button("in", "+", () => editor.zoom(1.25)),
      ),
      this.group(this.button("help", "?", () => editor.help())),
    );
  }

  group(...children) {
    return element("div", { class: "group" }, ...children);
  }

  /** A button of an icon; of its name, too, where its `look` is "labelled". */
  button(name, key, onclick, look = null) {
    const label = this.words(`tools.${name}`);
    const made = element(
      "button",
      { type: "button", title: key ? `${label} (${key})` : label, "aria-label": label, class: look, onclick },
      icon(ICONS[name]),
      look ? element("span", {}, label) : "",
    );
    this.buttons.set(name, made);
    return made;
  }

  refresh() {
    const { editor } = this;
    const { field } = editor;
    this.title.textContent = field.base.row.name;
    this.title.title = field.base.row.name;
    for (const tool of ["select", "add", "region", "pan"]) this.press(tool, editor.tool === tool);
    this.press("boxes", editor.boxesShown);
    this.press("scores", editor.scoresShown);
    this.press("grid", editor.grid > 0);
    this.buttons.get("undo").disabled = !field.base.can_undo;
    this.buttons.get("redo").disabled = !field.base.can_redo;
    const none = field.selected.size === 0;
    this.buttons.get("remove").disabled = none;
    this.buttons.get("keep").disabled = none;
  }

  press(name, pressed) {
    this.buttons.get(name).setAttribute("aria-pressed", String(pressed));
  }
}
