/** Moving and resizing with the arrow keys: however often one is pressed, it is one stroke. */

import { boxFrom, moved, SMALLEST_SIDE } from "./geometry.js";

const SETTLES_AFTER = 500; // milliseconds without a further key until the stroke is made

export class Arrows {
  /** @param {import("./editor.js").Editor} editor */
  constructor(editor) {
    this.editor = editor;
    this.timer = null;
  }

  move(dx, dy) {
    const { width, height } = this.editor.field;
    const places = this.places();
    this.show(places, moved(places.map(([, box]) => box), dx, dy, width, height));
  }

  /** Move the right and the lower side of what is selected. */
  grow(dx, dy) {
    const { width, height } = this.editor.field;
    const places = this.places();
    const side = (from, to) => Math.max(from + SMALLEST_SIDE, to);
    const grown = places.map(([, [x1, y1, x2, y2]]) =>
      boxFrom([x1, y1], [side(x1, x2 + dx), side(y1, y2 + dy)], width, height),
    );
    this.show(places, grown);
  }

  /** What is selected, and where it shows now. */
  places() {
    const { field, preview } = this.editor;
    return [...field.selected].map((id) => [id, preview?.get(id) ?? field.boxes.get(id).box]);
  }

  show(places, boxes) {
    this.editor.preview = new Map(places.map(([id], k) => [id, boxes[k]]));
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.settle(), SETTLES_AFTER);
    this.editor.draw();
  }

  /** Make what the keys have moved a stroke. */
  settle() {
    if (!this.timer) return;
    clearTimeout(this.timer);
    this.timer = null;
    const { preview } = this.editor;
    this.editor.preview = null;
    if (preview) this.editor.place(preview);
  }
}
