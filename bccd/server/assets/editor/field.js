/**
 * What is known of one field: as the server has it, with the strokes on top that it has not answered.
 *
 * A stroke is a list of changes ({do: "add", name, box}, ...) that is undone as one. It shows at once;
 * `settle` replaces the base with the server's answer and lays what is still under way over it.
 */

import { center, contains, inPolygon } from "./geometry.js";

const SAME_PLACE = 2; // pixels that a side may differ after the server has stored a box

export class Field {
  /** @param {object} answer the server's: row, boxes, hidden, regions, classes, levels, ... */
  constructor(answer) {
    this.base = answer;
    this.pending = []; // strokes that the server has not answered
    this.thresholds = new Map(answer.classes.map((cls) => [cls.name, cls.threshold]));
    this.selected = new Set();
    this.hiddenClasses = new Set();
    this.serial = 0;
    this.lay();
  }

  get width() {
    return this.base.levels[0].width;
  }

  get height() {
    return this.base.levels[0].height;
  }

  get classes() {
    return this.base.classes;
  }

  get accepted() {
    return this.base.row.reviewed_by !== null && this.base.row.reviewed_by !== undefined;
  }

  /** Build what shows: the base, the strokes under way, and the thresholds. */
  lay() {
    const boxes = new Map();
    for (const box of [...this.base.boxes, ...this.base.hidden]) boxes.set(box.id, box);
    const regions = new Map(this.base.regions.map((region) => [region.id, region]));
    for (const stroke of this.pending) {
      for (const change of stroke) applyChange(boxes, regions, change);
    }
    this.boxes = boxes;
    this.regions = regions;
    const stored = new Set(this.base.boxes.map((box) => box.id));
    this.counted = [...boxes.values()].filter((box) => this.counts(box, stored));
    for (const id of this.selected) if (!boxes.has(id)) this.selected.delete(id);
  }

  /** Whether a box counts: made or judged by hand, or its score reaches the threshold. */
  counts(box, stored) {
    if (box.origin !== "detected") return true;
    if (this.accepted) return stored.has(box.id);
    return box.score === null || box.score >= (this.thresholds.get(box.name) ?? 0);
  }

  /** Take a stroke that is on its way; gives added boxes names until the server does. */
  add(changes) {
    for (const change of changes) {
      if (change.do === "add" || change.do === "add_region") {
        this.serial += 1;
        change.temporary = `new-${this.serial}`;
      }
    }
    this.pending.push(changes);
    this.lay();
  }

  /**
   * Take the server's answer to the oldest stroke under way, or to an undo, when `answered` is null.
   *
   * @returns {Map<string, string>} from ids that were in use here to those that boxes have now.
   */
  settle(answer, answered) {
    const names = answered ? this.newNames(answer) : new Map();
    answer.classes.forEach(({ name, threshold }) => {
      const before = this.base.classes.find((cls) => cls.name === name);
      if (before?.threshold !== threshold) this.thresholds.set(name, threshold);
    });
    this.base = answer;
    if (answered) this.pending.shift();
    for (const change of this.pending.flat()) {
      if (names.has(change.id)) change.id = names.get(change.id);
    }
    this.selected = new Set([...this.selected].map((id) => names.get(id) ?? id));
    this.lay();
    return names;
  }

  /**
   * From ids that are in use here to those of the answer: a box gets another one with its first stroke.
   * The box that is nearest to where the stroke has put it is the same one.
   */
  newNames(answer) {
    const known = new Set([...answer.boxes, ...answer.hidden, ...answer.regions].map(({ id }) => id));
    const asked = new Map([...this.base.boxes, ...this.base.hidden].map((box) => [box.id, box]));
    const before = new Set(asked.keys());
    for (const change of this.pending[0]) applyChange(asked, new Map(), change);
    const fresh = answer.boxes.filter(({ id }) => !before.has(id));
    const laterIds = this.pending.slice(1).flat().map((change) => change.id);
    const names = new Map();
    for (const id of new Set([...this.selected, ...laterIds])) {
      const box = asked.get(id);
      if (!box || known.has(id)) continue;
      const distance = ({ box: other }) => Math.max(...other.map((value, k) => Math.abs(value - box.box[k])));
      const alike = fresh.filter(({ name }) => name === box.name);
      const [nearest] = alike.sort((a, b) => distance(a) - distance(b));
      if (nearest && distance(nearest) < SAME_PLACE) names.set(id, nearest.id);
    }
    return names;
  }

  /** Forget the strokes under way: the server refused one. */
  dropPending() {
    this.pending = [];
    this.lay();
  }

  shown() {
    return this.counted.filter((box) => !this.hiddenClasses.has(box.name));
  }

  /** Number of counted boxes by class, in a region or all. */
  tally(vertices = null) {
    const counts = Object.fromEntries(this.classes.map((cls) => [cls.name, 0]));
    for (const box of this.counted) {
      if (!vertices || inPolygon(vertices, center(box.box))) counts[box.name] = (counts[box.name] ?? 0) + 1;
    }
    return counts;
  }

  /** The box at a point: of those one upon another, the smallest. */
  at(point) {
    let found = null;
    let least = Infinity;
    for (const box of this.shown()) {
      const area = (box.box[2] - box.box[0]) * (box.box[3] - box.box[1]);
      if (area < least && contains(box.box, point)) [found, least] = [box, area];
    }
    return found;
  }

  /** The detection to judge next: lowest score first, after the one that is selected. */
  nextUncertain(backwards = false) {
    const doubtful = this.shown()
      .filter((box) => box.origin === "detected" && box.score !== null)
      .sort((a, b) => a.score - b.score || (a.id < b.id ? -1 : 1));
    return step(doubtful, this.selected, backwards);
  }

  /** The box after the selected one in reading order: rows from the top, each from the left. */
  nextInOrder(backwards = false) {
    const shown = this.shown();
    if (!shown.length) return null;
    const heights = shown.map(({ box }) => box[3] - box[1]).sort((a, b) => a - b);
    const row = Math.max(1, heights[heights.length >> 1]);
    const place = ({ box }) => [Math.floor(center(box)[1] / row), center(box)[0]];
    const ordered = shown
      .map((box) => [place(box), box])
      .sort(([a], [b]) => a[0] - b[0] || a[1] - b[1])
      .map(([, box]) => box);
    return step(ordered, this.selected, backwards);
  }

  /** A usual size of a class's boxes, for one that is added without a mouse. */
  usualSize(name) {
    const of = (filter) =>
      this.counted
        .filter(filter)
        .map(({ box }) => Math.max(box[2] - box[0], box[3] - box[1]))
        .sort((a, b) => a - b);
    const sizes = of((box) => box.name === name);
    const all = sizes.length ? sizes : of(() => true);
    return all.length ? all[all.length >> 1] : Math.min(this.width, this.height) / 8;
  }
}

function step(list, selected, backwards) {
  if (!list.length) return null;
  const at = list.findIndex((box) => selected.has(box.id));
  if (at < 0) return list[backwards ? list.length - 1 : 0];
  return list[(at + (backwards ? list.length - 1 : 1)) % list.length];
}

function applyChange(boxes, regions, change) {
  const box = boxes.get(change.id);
  const byHand = (more) => boxes.set(change.id, { ...box, ...more, origin: "changed" });
  if (change.do === "add") {
    const { name, temporary: id } = change;
    boxes.set(id, { id, name, box: change.box, score: null, origin: "added" });
  } else if (change.do === "move" && box) byHand({ box: change.box });
  else if (change.do === "class" && box) byHand({ name: change.name });
  else if (change.do === "confirm" && box) boxes.set(change.id, { ...box, origin: "confirmed" });
  else if (change.do === "delete") boxes.delete(change.id);
  else if (change.do === "add_region") {
    const { name, vertices, temporary: id } = change;
    regions.set(id, { id, name, vertices });
  } else if (change.do === "remove_region") regions.delete(change.id);
}
