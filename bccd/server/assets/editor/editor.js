/**
 * One field under the hands of a person: what is selected, which tool is in hand, and every action.
 *
 * Mouse (`gestures.js`), keyboard (`keys.js`), toolbar and panel all end in a method here, so that each
 * of them can do everything. Each action that changes the field is one stroke, undone as one.
 */

import { Arrows } from "./arrows.js";
import { boxFrom, center } from "./geometry.js";
import { Gestures } from "./gestures.js";
import { Keys } from "./keys.js";
import { paint, rgb } from "./paint.js";
import { View } from "./view.js";

export const GRIDS = [0, 4, 6, 10]; // columns

export class Editor {
  /**
   * @param {HTMLElement} surface takes mouse, fingers and focus.
   * @param {HTMLCanvasElement} pixels
   * @param {HTMLCanvasElement} overlay
   * @param {object} page say(key, values), announce(sentence), refresh(), otherField(step), help(),
   *     accepted(), words(key, values).
   */
  constructor(surface, pixels, overlay, page) {
    this.page = page;
    this.pixels = pixels;
    this.overlay = overlay;
    this.view = new View();
    this.field = null;
    this.tiles = null;
    this.sync = null;
    this.tool = "select";
    this.current = 0; // index of the class that is added
    this.boxesShown = true;
    this.scoresShown = true;
    this.grid = 0;
    this.spaceHeld = false;
    this.draft = null;
    this.preview = null;
    this.arrows = new Arrows(this);
    this.gestures = new Gestures(this, surface);
    this.keys = new Keys(this);
  }

  open(field, tiles, sync) {
    [this.field, this.tiles, this.sync] = [field, tiles, sync];
    [this.draft, this.preview] = [null, null];
    this.current = Math.min(this.current, field.classes.length - 1);
    this.view.setImage(field.width, field.height);
    this.draw();
  }

  // Looking

  /** Paint on the browser's next frame, however often it is asked before. */
  draw() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      if (this.field) this.paintNow();
    });
  }

  paintNow() {
    const ratio = window.devicePixelRatio || 1;
    const pixels = this.pixels.getContext("2d");
    const overlay = this.overlay.getContext("2d");
    for (const context of [pixels, overlay]) {
      context.setTransform(ratio, 0, 0, ratio, 0, 0);
      context.clearRect(0, 0, this.view.width, this.view.height);
    }
    this.tiles.draw(pixels, this.view, ratio);
    paint(overlay, this.view, this.field, {
      boxes: this.boxesShown,
      scores: this.scoresShown,
      grid: this.grid,
      preview: this.preview,
      draft: this.draft,
    });
  }

  resize(width, height) {
    const ratio = window.devicePixelRatio || 1;
    for (const canvas of [this.pixels, this.overlay]) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
    }
    this.view.resize(width, height);
    this.draw();
  }

  zoom(factor) {
    this.view.zoom(factor);
    this.draw();
  }

  fit() {
    this.view.fit();
    this.draw();
  }

  pan(dx, dy) {
    this.view.pan(dx, dy);
    this.draw();
  }

  setTool(tool) {
    this.tool = tool;
    if (tool !== "region") this.draft = null;
    this.changed();
  }

  toggleBoxes() {
    this.boxesShown = !this.boxesShown;
    this.changed();
  }

  toggleScores() {
    this.scoresShown = !this.scoresShown;
    this.changed();
  }

  toggleGrid() {
    this.grid = GRIDS[(GRIDS.indexOf(this.grid) + 1) % GRIDS.length];
    this.changed();
  }

  showClass(name, shown) {
    if (shown) this.field.hiddenClasses.delete(name);
    else this.field.hiddenClasses.add(name);
    this.select([...this.field.selected].filter((id) => this.field.boxes.get(id)?.name !== name || shown));
  }

  setThreshold(name, score) {
    this.field.thresholds.set(name, score);
    this.field.lay();
    this.changed();
  }

  changed() {
    this.page.refresh();
    this.draw();
  }

  /** Boxes have other ids now: those under the hand follow. */
  renamed(names) {
    if (this.preview) {
      this.preview = new Map([...this.preview].map(([id, box]) => [names.get(id) ?? id, box]));
    }
    const held = this.gestures.drag?.box;
    if (held && names.has(held.id)) this.gestures.drag.box = { ...held, id: names.get(held.id) };
  }

  // Selecting

  select(ids) {
    this.arrows.settle();
    this.field.selected = new Set(ids);
    this.changed();
  }

  toggle(id) {
    const { selected } = this.field;
    this.select(selected.has(id) ? [...selected].filter((other) => other !== id) : [...selected, id]);
  }

  nextUncertain(backwards) {
    this.goTo(this.field.nextUncertain(backwards), "editor.none_uncertain");
  }

  nextInOrder(backwards) {
    this.goTo(this.field.nextInOrder(backwards), "editor.no_boxes");
  }

  goTo(box, otherwise) {
    if (!box) {
      this.page.say(otherwise);
      return;
    }
    this.boxesShown = true;
    this.select([box.id]);
    this.view.look(box.box);
    this.draw();
    this.announce(box);
  }

  announce(box) {
    const [x, y] = center(box.box).map(Math.round);
    const score = box.score === null ? this.page.words("editor.by_hand") : box.score.toFixed(2);
    this.page.announce(this.page.words("editor.cell", { name: box.name, score, x, y }));
  }

  escape() {
    if (this.draft || this.gestures.drag) {
      this.gestures.cancel();
      this.draw();
    } else if (this.field.selected.size) this.select([]);
    else this.setTool("select");
  }

  // Correcting

  stroke(changes) {
    this.arrows.settle();
    return this.sync.stroke(changes);
  }

  currentColor() {
    return rgb(this.field.classes[this.current].color);
  }

  async addBox(box) {
    const { name } = this.field.classes[this.current];
    const changes = [{ do: "add", name, box }];
    const stored = this.stroke(changes);
    this.field.selected = new Set([changes[0].temporary]);
    this.changed();
    this.page.announce(this.page.words("editor.added", { name }));
    await stored;
  }

  /** Add a box of usual size in the middle of what is seen, for hands without a mouse. */
  insert() {
    const size = this.field.usualSize(this.field.classes[this.current].name) / 2;
    const [x, y] = this.view.toImage(this.view.width / 2, this.view.height / 2);
    const { width, height } = this.field;
    this.addBox(boxFrom([x - size, y - size], [x + size, y + size], width, height));
  }

  /** Move boxes to where a drag has left them. */
  place(boxes) {
    this.stroke([...boxes].map(([id, box]) => ({ do: "move", id, box })));
  }

  removeSelected() {
    const ids = [...this.field.selected];
    if (!ids.length) return;
    const uncertain = ids.length === 1 ? this.field.nextUncertain() : null;
    this.stroke(ids.map((id) => ({ do: "delete", id })));
    this.page.announce(this.page.words("editor.deleted", { number: ids.length }));
    if (uncertain && !ids.includes(uncertain.id)) this.goTo(uncertain, "editor.none_uncertain");
  }

  /** Say that the selected boxes are right as they are, and go to the next uncertain one. */
  keep() {
    const ids = [...this.field.selected];
    if (!ids.length) {
      this.nextUncertain(false);
      return;
    }
    const next = this.field.nextUncertain();
    const doubtful = ids.filter((id) => this.field.boxes.get(id).origin === "detected");
    if (doubtful.length) this.stroke(doubtful.map((id) => ({ do: "confirm", id })));
    if (next && !ids.includes(next.id)) this.goTo(next, "editor.none_uncertain");
    else this.select([]);
  }

  /** Give the selected boxes a class, or choose the class of those to be added. */
  chooseClass(index) {
    const cls = this.field.classes[index];
    if (!cls) return false;
    this.current = index;
    const ids = [...this.field.selected].filter((id) => this.field.boxes.get(id).name !== cls.name);
    if (ids.length) {
      this.stroke(ids.map((id) => ({ do: "class", id, name: cls.name })));
      this.page.announce(this.page.words("editor.class_changed", { name: cls.name, number: ids.length }));
    } else this.changed();
    return true;
  }

  addRegion(vertices) {
    const numbers = [...this.field.regions.values()].map(({ name }) => Number(name.split(" ").pop()));
    const number = Math.max(0, ...numbers.filter(Number.isFinite)) + 1;
    const { width, height } = this.field;
    const inside = vertices.map(([x, y]) => [
      Math.min(width, Math.max(0, x)),
      Math.min(height, Math.max(0, y)),
    ]);
    const name = this.page.words("editor.region_name", { number });
    this.setTool("select");
    this.stroke([{ do: "add_region", name, vertices: inside }]);
  }

  regionOfView() {
    const [x1, y1, x2, y2] = this.view.visible();
    this.addRegion([
      [x1, y1],
      [x2, y1],
      [x2, y2],
      [x1, y2],
    ]);
  }

  removeRegion(id) {
    this.stroke([{ do: "remove_region", id }]);
  }

  async undo() {
    this.arrows.settle();
    await this.sync.undo();
  }

  async redo() {
    this.arrows.settle();
    await this.sync.redo();
  }

  async accept() {
    if (await this.stroke([{ do: "accept" }])) this.page.accepted();
  }

  async reopen() {
    await this.stroke([{ do: "reopen" }]);
  }

  help() {
    this.page.help();
  }

  otherField(step) {
    this.arrows.settle();
    this.page.otherField(step);
  }

  stop() {
    this.arrows.settle();
    this.keys.stop();
  }
}
