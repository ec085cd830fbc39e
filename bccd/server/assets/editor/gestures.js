/** What the mouse, a pen and fingers do on the picture, by the tool in hand. */

import { boxFrom, handles, isLargeEnough, moved, overlaps, resized } from "./geometry.js";
import { HANDLE, screenBox } from "./paint.js";

const SLIP = 4; // CSS pixels that a hand moves without meaning it
const WHEEL = 0.0015; // of the scale's logarithm for a unit of a wheel's turn
const FREEHAND_STEP = 5; // CSS pixels between the vertices of a line drawn by hand

export class Gestures {
  /** @param {import("./editor.js").Editor} editor @param {HTMLElement} surface */
  constructor(editor, surface) {
    this.editor = editor;
    this.surface = surface;
    this.pointers = new Map();
    this.drag = null;
    surface.addEventListener("pointerdown", (event) => this.down(event));
    surface.addEventListener("pointermove", (event) => this.move(event));
    surface.addEventListener("pointerup", (event) => this.up(event));
    surface.addEventListener("pointercancel", (event) => this.up(event));
    surface.addEventListener("dblclick", () => this.closeRegion());
    surface.addEventListener("contextmenu", (event) => event.preventDefault());
    surface.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
  }

  place(event) {
    const frame = this.surface.getBoundingClientRect();
    return [event.clientX - frame.left, event.clientY - frame.top];
  }

  wheel(event) {
    event.preventDefault();
    const { view } = this.editor;
    if (event.shiftKey) view.pan(-(event.deltaX || event.deltaY), 0);
    else {
      const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 30 : 1;
      const pinch = event.ctrlKey ? 6 : 1; // a touchpad's pinch comes as small turns with Ctrl
      view.zoom(Math.exp(-event.deltaY * lines * pinch * WHEEL), ...this.place(event));
    }
    this.editor.draw();
  }

  down(event) {
    if (!this.editor.field) return;
    this.editor.arrows.settle();
    this.surface.focus({ preventScroll: true });
    this.surface.setPointerCapture(event.pointerId);
    const at = this.place(event);
    this.pointers.set(event.pointerId, at);
    if (this.pointers.size === 2) {
      this.cancel();
      this.drag = { kind: "pinch" };
      return;
    }
    this.drag = this.begin(event, at);
  }

  /** What a press begins: a drag with what is needed to follow it. */
  begin(event, at) {
    const { editor } = this;
    const point = editor.view.toImage(...at);
    const drag = { at, last: at, point, moved: false };
    const isPan = event.button !== 0 || editor.spaceHeld || editor.tool === "pan";
    if (isPan) return { ...drag, kind: "pan" };
    if (editor.tool === "add") return { ...drag, kind: "add" };
    if (editor.tool === "region") return this.beginRegion(drag);
    const handle = this.handleAt(at);
    if (handle) return { ...drag, kind: "resize", ...handle };
    const box = editor.boxesShown ? editor.field.at(point) : null;
    if (!box) return { ...drag, kind: event.pointerType === "touch" ? "pan" : "rubber", shift: event.shiftKey };
    const wasSelected = editor.field.selected.has(box.id);
    if (event.shiftKey) editor.toggle(box.id);
    else if (!wasSelected) editor.select([box.id]);
    return { ...drag, kind: "move", box, shift: event.shiftKey, wasSelected };
  }

  beginRegion(drag) {
    const vertices = this.editor.draft?.vertices ?? [];
    if (vertices.length > 2) {
      const [x, y] = this.editor.view.toScreen(...vertices[0]);
      if (Math.hypot(drag.at[0] - x, drag.at[1] - y) < HANDLE) {
        this.closeRegion();
        return null;
      }
    }
    this.editor.draft = { vertices: [...vertices, drag.point] };
    this.editor.draw();
    return { ...drag, kind: "region" };
  }

  handleAt([x, y]) {
    const { field, view } = this.editor;
    if (field.selected.size !== 1) return null;
    const box = field.boxes.get([...field.selected][0]);
    const found = handles(screenBox(view, box.box)).find(
      ([, left, top]) => Math.abs(left - x) <= HANDLE && Math.abs(top - y) <= HANDLE,
    );
    return found ? { handle: found[0], box } : null;
  }

  move(event) {
    const at = this.place(event);
    const before = this.pointers.get(event.pointerId);
    if (!this.drag) {
      this.hover(at);
      return;
    }
    if (!before) return;
    if (this.drag.kind === "pinch") this.pinch(event.pointerId, at);
    this.pointers.set(event.pointerId, at);
    if (this.drag.kind === "pinch") return;
    const { drag } = this;
    drag.moved ||= Math.hypot(at[0] - drag.at[0], at[1] - drag.at[1]) >= SLIP;
    if (drag.moved) this.follow(at);
    drag.last = at;
  }

  follow(at) {
    const { editor, drag } = this;
    const { view, field } = editor;
    const point = view.toImage(...at);
    if (drag.kind === "pan") view.pan(at[0] - drag.last[0], at[1] - drag.last[1]);
    else if (drag.kind === "add") {
      const box = boxFrom(drag.point, point, field.width, field.height);
      editor.draft = { box, color: editor.currentColor() };
    } else if (drag.kind === "rubber") {
      editor.draft = { rubber: boxFrom(drag.point, point, field.width, field.height) };
    } else if (drag.kind === "resize") {
      const box = resized(drag.box.box, drag.handle, point, field.width, field.height);
      editor.preview = new Map([[drag.box.id, box]]);
    } else if (drag.kind === "move") this.moveSelected(point);
    else if (drag.kind === "region") this.freehand(at, point);
    editor.draw();
  }

  moveSelected(point) {
    const { editor, drag } = this;
    const { field } = editor;
    const ids = [...field.selected];
    if (!ids.length) return;
    const [dx, dy] = [point[0] - drag.point[0], point[1] - drag.point[1]];
    const boxes = ids.map((id) => field.boxes.get(id).box);
    const places = moved(boxes, dx, dy, field.width, field.height);
    editor.preview = new Map(ids.map((id, k) => [id, places[k]]));
  }

  freehand(at, point) {
    const { drag, editor } = this;
    const from = drag.vertexAt ?? drag.at;
    if (Math.hypot(at[0] - from[0], at[1] - from[1]) < FREEHAND_STEP) return;
    drag.vertexAt = at;
    drag.freehand = true;
    editor.draft = { vertices: [...(editor.draft?.vertices ?? []), point] };
  }

  /** Two fingers: the middle between them moves the picture, their distance zooms it. */
  pinch(id, at) {
    const [other] = [...this.pointers].filter(([key]) => key !== id).map(([, place]) => place);
    const before = this.pointers.get(id);
    const distance = (a) => Math.max(1, Math.hypot(a[0] - other[0], a[1] - other[1]));
    const { view } = this.editor;
    view.pan((at[0] - before[0]) / 2, (at[1] - before[1]) / 2);
    view.zoom(distance(at) / distance(before), (at[0] + other[0]) / 2, (at[1] + other[1]) / 2);
    this.editor.draw();
  }

  up(event) {
    this.pointers.delete(event.pointerId);
    const { drag } = this;
    this.drag = null;
    if (!drag || event.type === "pointercancel") this.cancel();
    else this.finish(drag);
    this.editor.draw();
  }

  finish(drag) {
    const { editor } = this;
    const { preview, draft } = editor;
    editor.preview = null;
    if (drag.kind !== "region") editor.draft = null;
    if (drag.kind === "add" && draft?.box && isLargeEnough(draft.box)) editor.addBox(draft.box);
    else if (drag.kind === "rubber") this.selectIn(draft?.rubber, drag);
    else if (preview && (drag.kind === "move" || drag.kind === "resize")) editor.place(preview);
    else if (drag.kind === "move" && !drag.shift && drag.wasSelected) editor.select([drag.box.id]);
    else if (drag.kind === "region" && drag.freehand) this.closeRegion();
  }

  selectIn(rubber, { shift }) {
    const { editor } = this;
    const before = shift ? [...editor.field.selected] : [];
    if (!rubber) {
      editor.select(before);
      return;
    }
    const found = editor.boxesShown ? editor.field.shown().filter(({ box }) => overlaps(box, rubber)) : [];
    editor.select([...before, ...found.map((box) => box.id)]);
  }

  /** Close the region that is being drawn. */
  closeRegion() {
    const vertices = this.editor.draft?.vertices;
    if (!vertices) return;
    this.editor.draft = null;
    this.drag = null;
    const distinct = vertices.filter(
      ([x, y], k) => !k || Math.hypot(x - vertices[k - 1][0], y - vertices[k - 1][1]) > 1e-6,
    );
    if (distinct.length >= 3) this.editor.addRegion(distinct);
    this.editor.draw();
  }

  cancel() {
    this.drag = null;
    this.editor.preview = null;
    this.editor.draft = null;
  }

  hover(at) {
    const { editor } = this;
    if (!editor.field) return;
    let cursor = { add: "crosshair", region: "crosshair", pan: "grab" }[editor.tool] ?? "default";
    if (editor.spaceHeld) cursor = "grab";
    else if (editor.tool === "select") {
      const handle = this.handleAt(at);
      if (handle) cursor = `${handle.handle}-resize`;
      else if (editor.boxesShown && editor.field.at(editor.view.toImage(...at))) cursor = "pointer";
    }
    this.surface.style.cursor = cursor;
  }
}
