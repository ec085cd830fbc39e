/** Boxes [x1, y1, x2, y2] and polygons [[x, y], ...] in pixels of the image: pure functions. */

export const SMALLEST_SIDE = 2; // pixels: a box below it was a slip of the hand

/** A box from any two corners, inside an image of this size. */
export function boxFrom([ax, ay], [bx, by], width, height) {
  const inside = (value, most) => Math.min(most, Math.max(0, value));
  return [
    inside(Math.min(ax, bx), width),
    inside(Math.min(ay, by), height),
    inside(Math.max(ax, bx), width),
    inside(Math.max(ay, by), height),
  ];
}

export function isLargeEnough([x1, y1, x2, y2]) {
  return x2 - x1 >= SMALLEST_SIDE && y2 - y1 >= SMALLEST_SIDE;
}

/** Move boxes by one step that leaves all of them inside the image. */
export function moved(boxes, dx, dy, width, height) {
  const least = (k) => Math.min(...boxes.map((box) => box[k]));
  const most = (k) => Math.max(...boxes.map((box) => box[k]));
  const right = Math.min(width - most(2), Math.max(-least(0), dx));
  const down = Math.min(height - most(3), Math.max(-least(1), dy));
  return boxes.map(([x1, y1, x2, y2]) => [x1 + right, y1 + down, x2 + right, y2 + down]);
}

/** A box with the sides that a handle holds ("nw", "e", ...) moved to a point. */
export function resized(box, handle, [x, y], width, height) {
  const [x1, y1, x2, y2] = box;
  const moving = [
    handle.includes("w") ? x : x1,
    handle.includes("n") ? y : y1,
    handle.includes("e") ? x : x2,
    handle.includes("s") ? y : y2,
  ];
  return boxFrom(moving.slice(0, 2), moving.slice(2), width, height);
}

export function center([x1, y1, x2, y2]) {
  return [(x1 + x2) / 2, (y1 + y2) / 2];
}

export function overlaps(a, b) {
  return a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3];
}

export function contains([x1, y1, x2, y2], [x, y]) {
  return x1 <= x && x <= x2 && y1 <= y && y <= y2;
}

/** Whether a point is in a polygon, by the even-odd rule. */
export function inPolygon(vertices, [x, y]) {
  let inside = false;
  for (let i = 0, j = vertices.length - 1; i < vertices.length; j = i, i += 1) {
    const [xi, yi] = vertices[i];
    const [xj, yj] = vertices[j];
    if (yi > y !== yj > y && x < ((xj - xi) * (y - yi)) / (yj - yi) + xi) inside = !inside;
  }
  return inside;
}

/** Where the handles of a box are: name and place, in the box's own unit. */
export function handles([x1, y1, x2, y2]) {
  const [x, y] = [(x1 + x2) / 2, (y1 + y2) / 2];
  return [
    ["nw", x1, y1],
    ["n", x, y1],
    ["ne", x2, y1],
    ["e", x2, y],
    ["se", x2, y2],
    ["s", x, y2],
    ["sw", x1, y2],
    ["w", x1, y],
  ];
}
