/** Draws what lies over the pixels: boxes, scores, handles, regions, the grid, the scale bar. */

import { handles, overlaps } from "./geometry.js";

const OUTLINED_UP_TO = 1500; // boxes in sight; more are drawn as plain lines, to stay fluent
const LABELLED_FROM = 34; // CSS pixels that a box is wide, so that its score has room
export const HANDLE = 9; // CSS pixels
const FONT = "12px system-ui, sans-serif";
const UNKNOWN = "rgb(200, 200, 200)"; // of a class that the present model does not have
const DARK = "rgba(0, 0, 0, 0.65)";
const BAR_STEPS = [1, 2, 5];
const BAR_WIDTH = 160; // CSS pixels, at most

export const rgb = ([r, g, b]) => `rgb(${r}, ${g}, ${b})`;

/**
 * @param {CanvasRenderingContext2D} context in CSS pixels.
 * @param {import("./view.js").View} view
 * @param {import("./field.js").Field} field
 * @param {object} look what shows: boxes, scores, grid (columns, 0 for none), preview (a map from ids
 *     to boxes under the hand), draft (a box or vertices that are being drawn), draftColor.
 */
export function paint(context, view, field, look) {
  context.font = FONT;
  context.lineJoin = "round";
  for (const region of field.regions.values()) {
    drawPolygon(context, view, region.vertices, true, false);
  }
  if (look.boxes) drawBoxes(context, view, field, look);
  for (const region of field.regions.values()) drawRegionName(context, view, region);
  if (look.grid) drawGrid(context, view, look.grid);
  if (look.draft?.vertices) drawPolygon(context, view, look.draft.vertices, false, true);
  if (look.draft?.box) outline(context, screenBox(view, look.draft.box), look.draft.color, 2, [6, 4]);
  if (look.draft?.rubber) {
    outline(context, screenBox(view, look.draft.rubber), "rgb(255, 255, 255)", 1, [4, 4]);
  }
  drawScaleBar(context, view, field.base.row.micrometres_per_pixel);
}

export function screenBox(view, [x1, y1, x2, y2]) {
  return [...view.toScreen(x1, y1), ...view.toScreen(x2, y2)];
}

function drawBoxes(context, view, field, look) {
  const colors = new Map(field.classes.map((cls) => [cls.name, rgb(cls.color)]));
  const sight = view.visible();
  const place = (box) => look.preview?.get(box.id) ?? box.box;
  const shown = field.shown().filter((box) => overlaps(place(box), sight));
  const plain = shown.length > OUTLINED_UP_TO;
  for (const box of shown) {
    if (field.selected.has(box.id)) continue;
    const screen = screenBox(view, place(box));
    outline(context, screen, colors.get(box.name) ?? UNKNOWN, plain ? 1 : 2, [], !plain);
    if (box.origin !== "detected") drawCorner(context, screen, colors.get(box.name) ?? UNKNOWN);
  }
  if (look.scores && !plain) drawScores(context, view, shown.filter(({ id }) => !field.selected.has(id)), place, colors);
  for (const box of shown) {
    if (!field.selected.has(box.id)) continue;
    const screen = screenBox(view, place(box));
    outline(context, screen, "rgb(255, 255, 255)", 5);
    outline(context, screen, colors.get(box.name) ?? UNKNOWN, 3);
    if (field.selected.size === 1) {
      const score = box.score === null ? "" : ` ${box.score.toFixed(2)}`;
      drawLabel(context, screen, box.name + score, colors.get(box.name) ?? UNKNOWN);
      for (const [, x, y] of handles(screen)) drawHandle(context, x, y);
    }
  }
}

/** The scores lie over all outlines, or a neighbour's line crosses them out. */
function drawScores(context, view, boxes, place, colors) {
  for (const box of boxes) {
    const screen = screenBox(view, place(box));
    const isRoomy = screen[2] - screen[0] >= LABELLED_FROM;
    if (isRoomy && box.score !== null) {
      drawLabel(context, screen, box.score.toFixed(2), colors.get(box.name) ?? UNKNOWN);
    }
  }
}

function outline(context, [x1, y1, x2, y2], color, width, dash = [], halo = false) {
  context.setLineDash(dash);
  if (halo) {
    context.strokeStyle = DARK;
    context.lineWidth = width + 2;
    context.strokeRect(x1, y1, x2 - x1, y2 - y1);
  }
  context.strokeStyle = color;
  context.lineWidth = width;
  context.strokeRect(x1, y1, x2 - x1, y2 - y1);
  context.setLineDash([]);
}

/** A filled corner tells what a person has made or judged from what the model found. */
function drawCorner(context, [x1, y1, x2, y2], color) {
  const size = Math.min(10, (x2 - x1) / 2, (y2 - y1) / 2);
  context.fillStyle = color;
  context.beginPath();
  context.moveTo(x1, y1);
  context.lineTo(x1 + size, y1);
  context.lineTo(x1, y1 + size);
  context.fill();
}

function drawLabel(context, [x1, y1], text, color) {
  const width = context.measureText(text).width + 8;
  const top = y1 >= 17 ? y1 - 17 : y1 + 1;
  context.fillStyle = "rgba(0, 0, 0, 0.75)";
  context.fillRect(x1 - 1, top, width, 16);
  context.fillStyle = color;
  context.fillRect(x1 - 1, top, 3, 16);
  context.fillStyle = "white";
  context.fillText(text, x1 + 5, top + 12);
}

function drawHandle(context, x, y) {
  context.fillStyle = "white";
  context.strokeStyle = "black";
  context.lineWidth = 1;
  context.beginPath();
  context.rect(x - HANDLE / 2, y - HANDLE / 2, HANDLE, HANDLE);
  context.fill();
  context.stroke();
}

function drawPolygon(context, view, vertices, closed, strong) {
  context.beginPath();
  vertices.forEach(([x, y], k) => {
    const [left, top] = view.toScreen(x, y);
    if (k) context.lineTo(left, top);
    else context.moveTo(left, top);
  });
  if (closed) {
    context.closePath();
    context.fillStyle = "rgba(255, 255, 255, 0.08)";
    context.fill();
  }
  context.lineWidth = 4;
  context.strokeStyle = DARK;
  context.stroke();
  context.lineWidth = 2;
  context.strokeStyle = strong ? "rgb(255, 221, 51)" : "rgb(255, 255, 255)";
  context.setLineDash([8, 5]);
  context.stroke();
  context.setLineDash([]);
}

function drawRegionName(context, view, region) {
  const top = region.vertices.reduce((best, vertex) => (vertex[1] < best[1] ? vertex : best));
  const [x, y] = view.toScreen(...top);
  drawLabel(context, [x, y], region.name, "rgb(255, 221, 51)");
}

/** Squares with names (A1, B1, ...) to count one after another. */
function drawGrid(context, view, columns) {
  const size = view.imageWidth / columns;
  const rows = Math.ceil(view.imageHeight / size);
  context.beginPath();
  for (let k = 0; k <= columns; k += 1) line(context, view, k * size, 0, k * size, view.imageHeight);
  for (let k = 0; k <= rows; k += 1) {
    const y = Math.min(k * size, view.imageHeight);
    line(context, view, 0, y, view.imageWidth, y);
  }
  context.strokeStyle = DARK;
  context.lineWidth = 3;
  context.stroke();
  context.strokeStyle = "rgba(255, 255, 255, 0.9)";
  context.lineWidth = 1;
  context.stroke();
  for (let row = 0; row < rows; row += 1) {
    for (let column = 0; column < columns; column += 1) {
      const below = Math.min((row + 1) * size, view.imageHeight);
      const [x, bottom] = view.toScreen(column * size, below);
      const y = bottom - 20;
      context.fillStyle = "rgba(0, 0, 0, 0.65)";
      const name = `${String.fromCharCode(65 + column)}${row + 1}`;
      context.fillRect(x + 2, y + 2, context.measureText(name).width + 8, 16);
      context.fillStyle = "white";
      context.fillText(name, x + 6, y + 14);
    }
  }
}

function line(context, view, x1, y1, x2, y2) {
  context.moveTo(...view.toScreen(x1, y1));
  context.lineTo(...view.toScreen(x2, y2));
}

function drawScaleBar(context, view, micrometresPerPixel) {
  const unit = micrometresPerPixel ? "µm" : "px";
  const perScreenPixel = (micrometresPerPixel || 1) / view.scale;
  const most = BAR_WIDTH * perScreenPixel;
  const power = 10 ** Math.floor(Math.log10(most));
  const length = power * Math.max(...BAR_STEPS.filter((step) => step * power <= most));
  const width = length / perScreenPixel;
  const [x, y] = [view.width - width - 20, view.height - 20];
  context.fillStyle = DARK;
  context.fillRect(x - 8, y - 24, width + 16, 34);
  context.fillStyle = "white";
  context.fillRect(x, y - 2, width, 4);
  context.fillText(`${Number(length.toPrecision(3))} ${unit}`, x, y - 8);
}
