/**
 * The pixels: tiles of the level that fits the zoom, the nearest coarser ones until they are there.
 *
 * An image of any size costs what is in sight: at most MOST_TILES decoded tiles are kept.
 */

const TILE = 512; // pixels, of every level
const MOST_TILES = 160; // about 160 MB of decoded pixels
const MOST_LOADING = 6; // what a browser loads from one host at a time
const SMOOTH_UP_TO = 3; // from here on pixels are drawn as squares, to be counted

export class TileLayer {
  /**
   * @param {string} base address of the tiles, without a slash at its end.
   * @param {string} key of the study's pictures, which a browser keeps for ever.
   * @param {{level: number, width: number, height: number, columns: number, rows: number}[]} levels
   *     from full resolution to the coarsest.
   * @param {() => void} changed called when a tile has arrived.
   * @param {() => void} failed called when one cannot be had.
   */
  constructor(base, key, levels, changed, failed) {
    this.base = base;
    this.key = key;
    this.levels = levels;
    this.changed = changed;
    this.failed = failed;
    this.tiles = new Map(); // from key to {image, ready}, the least recently drawn first
    this.loading = 0;
  }

  /** The coarsest level that still has a pixel for each of the screen. */
  chooseLevel(scale) {
    const needed = this.levels[0].width * scale;
    const fine = this.levels.filter((level) => level.width >= needed);
    return fine.length ? fine[fine.length - 1] : this.levels[0];
  }

  /** Draw what is in sight; `ratio` is the device's pixels for one CSS pixel. */
  draw(context, view, ratio) {
    const chosen = this.chooseLevel(view.scale * ratio);
    const index = this.levels.indexOf(chosen);
    context.imageSmoothingEnabled = view.scale * ratio < SMOOTH_UP_TO;
    const coarsest = this.levels[this.levels.length - 1];
    if (coarsest !== chosen) this.drawLevel(context, view, coarsest, true);
    for (let k = this.levels.length - 2; k > index; k -= 1) {
      this.drawLevel(context, view, this.levels[k], false);
    }
    this.drawLevel(context, view, chosen, true);
  }

  drawLevel(context, view, level, fetchMissing) {
    const shrink = this.levels[0].width / level.width;
    const [x1, y1, x2, y2] = view.visible().map((value) => value / shrink / TILE);
    const wanted = [];
    for (let row = Math.max(0, Math.floor(y1)); row < Math.min(level.rows, y2); row += 1) {
      for (let column = Math.max(0, Math.floor(x1)); column < Math.min(level.columns, x2); column += 1) {
        const key = `${level.level}/${column}/${row}`;
        const tile = this.tiles.get(key);
        if (tile) {
          this.tiles.delete(key);
          this.tiles.set(key, tile);
        }
        if (tile?.ready) this.drawTile(context, view, level, column, row, tile.image);
        else if (!tile && fetchMissing) wanted.push([key, column + 0.5, row + 0.5]);
      }
    }
    const [x, y] = [(x1 + x2) / 2, (y1 + y2) / 2]; // the centre first, where the eye is
    wanted.sort((a, b) => Math.hypot(a[1] - x, a[2] - y) - Math.hypot(b[1] - x, b[2] - y));
    for (const [key] of wanted) this.load(key);
  }

  drawTile(context, view, level, column, row, image) {
    const acrossScale = (this.levels[0].width / level.width) * view.scale;
    const downScale = (this.levels[0].height / level.height) * view.scale;
    // Edges on whole pixels, or seams show between tiles.
    const left = Math.round(view.left + column * TILE * acrossScale);
    const top = Math.round(view.top + row * TILE * downScale);
    const right = Math.round(view.left + (column * TILE + image.naturalWidth) * acrossScale);
    const bottom = Math.round(view.top + (row * TILE + image.naturalHeight) * downScale);
    context.drawImage(image, left, top, right - left, bottom - top);
  }

  load(key) {
    if (this.loading >= MOST_LOADING) return;
    this.loading += 1;
    const image = new Image();
    const tile = { image, ready: false };
    this.tiles.set(key, tile);
    const done = (ready) => {
      this.loading -= 1;
      tile.ready = ready;
      if (!ready) this.failed();
      this.forgetOld();
      this.changed();
    };
    image.onload = () => done(true);
    image.onerror = () => done(false);
    image.src = `${this.base}/${key}?${this.key}`;
  }

  forgetOld() {
    for (const [key, tile] of this.tiles) {
      if (this.tiles.size <= MOST_TILES) return;
      if (tile.ready) this.tiles.delete(key);
    }
  }
}
