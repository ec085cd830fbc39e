/**
 * Where the image lies on the screen: one scale and one offset, and the moves a hand makes with them.
 *
 * A point (x, y) of the image, in its pixels, is at (x * scale + left, y * scale + top) in CSS pixels.
 */

const LARGEST_SCALE = 40; // CSS pixels for a pixel of the image
const MARGIN = 60; // of the image stays in sight, in CSS pixels, however far it is moved

export class View {
  constructor() {
    this.scale = 1;
    this.left = 0;
    this.top = 0;
    this.width = 1;
    this.height = 1;
    this.imageWidth = 1;
    this.imageHeight = 1;
  }

  /** Take the size of the image, in pixels, and show all of it. */
  setImage(width, height) {
    this.imageWidth = width;
    this.imageHeight = height;
    this.fit();
  }

  /** Take the size of the window, in CSS pixels; what is in its centre stays there. */
  resize(width, height) {
    const fitted = this.isFitted();
    const [x, y] = this.toImage(this.width / 2, this.height / 2);
    this.width = Math.max(1, width);
    this.height = Math.max(1, height);
    if (fitted) this.fit();
    else this.center(x, y);
  }

  fittingScale() {
    return Math.min(this.width / this.imageWidth, this.height / this.imageHeight, LARGEST_SCALE);
  }

  isFitted() {
    return Math.abs(this.scale - this.fittingScale()) < 1e-9;
  }

  fit() {
    this.scale = this.fittingScale();
    this.left = (this.width - this.imageWidth * this.scale) / 2;
    this.top = (this.height - this.imageHeight * this.scale) / 2;
  }

  toImage(x, y) {
    return [(x - this.left) / this.scale, (y - this.top) / this.scale];
  }

  toScreen(x, y) {
    return [x * this.scale + this.left, y * this.scale + this.top];
  }

  /** Zoom by a factor; the point of the image under (x, y) of the window stays under it. */
  zoom(factor, x = this.width / 2, y = this.height / 2) {
    const [imageX, imageY] = this.toImage(x, y);
    const smallest = this.fittingScale() / 2;
    this.scale = Math.min(LARGEST_SCALE, Math.max(smallest, this.scale * factor));
    this.left = x - imageX * this.scale;
    this.top = y - imageY * this.scale;
    this.keepInSight();
  }

  pan(dx, dy) {
    this.left += dx;
    this.top += dy;
    this.keepInSight();
  }

  center(x, y) {
    this.left = this.width / 2 - x * this.scale;
    this.top = this.height / 2 - y * this.scale;
    this.keepInSight();
  }

  /** Bring a box to the centre, zoomed in far enough to judge it, never out. */
  look([x1, y1, x2, y2]) {
    const size = Math.max(x2 - x1, y2 - y1, 1);
    const wanted = Math.min(this.width, this.height) / (6 * size);
    this.scale = Math.min(LARGEST_SCALE, Math.max(this.scale, wanted));
    this.center((x1 + x2) / 2, (y1 + y2) / 2);
    this.left = this.filled(this.left, this.width, this.imageWidth * this.scale);
    this.top = this.filled(this.top, this.height, this.imageHeight * this.scale);
  }

  /** An offset at which a side of the image leaves as little of the window empty as can be. */
  filled(offset, window, side) {
    if (side <= window) return (window - side) / 2;
    return Math.min(MARGIN, Math.max(window - side - MARGIN, offset));
  }

  /** The part of the image in sight, [x1, y1, x2, y2] in its pixels. */
  visible() {
    const [x1, y1] = this.toImage(0, 0);
    const [x2, y2] = this.toImage(this.width, this.height);
    return [
      Math.max(0, x1),
      Math.max(0, y1),
      Math.min(this.imageWidth, x2),
      Math.min(this.imageHeight, y2),
    ];
  }

  keepInSight() {
    const right = this.imageWidth * this.scale;
    const bottom = this.imageHeight * this.scale;
    this.left = Math.min(this.width - MARGIN, Math.max(MARGIN - right, this.left));
    this.top = Math.min(this.height - MARGIN, Math.max(MARGIN - bottom, this.top));
  }
}
