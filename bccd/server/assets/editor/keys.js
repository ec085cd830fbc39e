/** What each key does. Letters work wherever no text is being typed. */

const STEP = 1; // pixels of the image for an arrow key; with Shift ten times as many
const FAR = 10;
const PAN = 80; // CSS pixels
const ZOOM = 1.25;
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** The keys and the entry of the catalogue that says what they do, for the help. */
export const HELP = [
  ["N  Shift+N", "keys.uncertain"],
  ["K", "keys.keep"],
  ["]  [", "keys.next"],
  ["1 – 9", "keys.class"],
  ["Delete", "keys.delete"],
  ["B", "keys.add"],
  ["I", "keys.insert"],
  ["← ↑ → ↓", "keys.move"],
  ["Alt + ← ↑ → ↓", "keys.resize"],
  ["Ctrl+Z  Ctrl+Y", "keys.undo"],
  ["Ctrl+A  Esc", "keys.select"],
  ["Enter  A", "keys.accept"],
  ["R  Shift+R", "keys.region"],
  ["H  S  G", "keys.show"],
  ["+  −  0", "keys.zoom"],
  ["PageDown  PageUp", "keys.fields"],
  ["Space", "keys.pan"],
  ["?", "keys.help"],
];

export class Keys {
  /** @param {import("./editor.js").Editor} editor */
  constructor(editor) {
    this.editor = editor;
    this.listeners = new AbortController();
    const { signal } = this.listeners;
    window.addEventListener("keydown", (event) => this.down(event), { signal });
    window.addEventListener("keyup", (event) => this.up(event), { signal });
    window.addEventListener("blur", () => (editor.spaceHeld = false), { signal });
  }

  stop() {
    this.listeners.abort();
  }

  up(event) {
    if (event.key === " ") this.editor.spaceHeld = false;
  }

  down(event) {
    const { editor } = this;
    const target = event.composedPath()[0];
    if (!editor.field || isTyping(target) || this.isDialogOpen()) return;
    const done =
      event.ctrlKey || event.metaKey ? this.withControl(event) : this.plain(event, target);
    if (done) event.preventDefault();
  }

  /** Whether a dialog is open, the page's own or the help, which is in the editor's shadow root. */
  isDialogOpen() {
    const roots = [document, this.editor.pixels.getRootNode()];
    return roots.some((root) => root.querySelector("[role=dialog], dialog[open]"));
  }

  withControl(event) {
    const { editor } = this;
    const key = event.key.toLowerCase();
    if (key === "z" && event.shiftKey) editor.redo();
    else if (key === "z") editor.undo();
    else if (key === "y") editor.redo();
    else if (key === "a") editor.select(editor.field.shown().map((box) => box.id));
    else return false;
    return true;
  }

  plain(event, target) {
    const { editor } = this;
    if (ARROWS[event.key]) return this.arrow(event, target);
    if ((event.key === "Enter" || event.key === " ") && isControl(target)) return false;
    if (/^[1-9]$/.test(event.key)) return editor.chooseClass(Number(event.key) - 1);
    const action = this.actions(event.shiftKey)[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!action || event.altKey) return false;
    action();
    return true;
  }

  actions(shift) {
    const { editor } = this;
    return {
      n: () => editor.nextUncertain(shift),
      k: () => editor.keep(),
      "]": () => editor.nextInOrder(false),
      "[": () => editor.nextInOrder(true),
      Delete: () => editor.removeSelected(),
      Backspace: () => editor.removeSelected(),
      v: () => editor.setTool("select"),
      b: () => editor.setTool("add"),
      r: () => (shift ? editor.regionOfView() : editor.setTool("region")),
      i: () => editor.insert(),
      a: () => editor.accept(),
      Enter: () => (editor.draft?.vertices ? editor.gestures.closeRegion() : editor.accept()),
      Escape: () => editor.escape(),
      h: () => editor.toggleBoxes(),
      s: () => editor.toggleScores(),
      g: () => editor.toggleGrid(),
      "+": () => editor.zoom(ZOOM),
      "=": () => editor.zoom(ZOOM),
      "-": () => editor.zoom(1 / ZOOM),
      0: () => editor.fit(),
      "?": () => editor.help(),
      PageDown: () => editor.otherField(1),
      PageUp: () => editor.otherField(-1),
      " ": () => (editor.spaceHeld = true),
    };
  }

  /** Arrows move what is selected, with Alt its right and lower side; without a selection the view. */
  arrow(event, target) {
    if (isControl(target)) return false;
    const { editor } = this;
    const [dx, dy] = ARROWS[event.key];
    const size = event.shiftKey ? STEP * FAR : STEP;
    if (!editor.field.selected.size) editor.pan(-dx * PAN, -dy * PAN);
    else if (event.altKey) editor.arrows.grow(dx * size, dy * size);
    else editor.arrows.move(dx * size, dy * size);
    return true;
  }
}

function isTyping(target) {
  const isInput = target instanceof HTMLInputElement && !["checkbox", "radio", "range"].includes(target.type);
  return isInput || target instanceof HTMLTextAreaElement || target?.isContentEditable;
}

function isControl(target) {
  return target instanceof HTMLElement && target.matches("button, a, select, summary, input, [role=button]");
}
