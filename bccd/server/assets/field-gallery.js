/**
 * <field-gallery>: every field as a thumbnail with its counts; only what is in sight is in the page.
 *
 * 5,000 fields are 5,000 short rows of one answer and about 40 elements.
 */

import { element, styledRoot } from "./dom.js";
import { loadWords } from "./words.js";

const STYLE = new URL("./field-gallery.css", import.meta.url).href;
const CARD = 232; // CSS pixels, with the gap
const CARD_HEIGHT = 270;
const SPARE_ROWS = 2; // above and below the window
const POLL = 1000; // milliseconds

class FieldGallery extends HTMLElement {
  async connectedCallback() {
    if (this.shadowRoot) return;
    const { root, styled } = styledRoot(this, STYLE);
    this.words = await loadWords();
    await styled;
    this.rows = [];
    this.shown = [];
    this.change = null;
    this.build(root);
    await this.load();
    this.dataset.ready = "true";
    this.poll = setInterval(() => this.check(), POLL);
  }

  disconnectedCallback() {
    clearInterval(this.poll);
    this.observer?.disconnect();
  }

  build(root) {
    const { words } = this;
    this.search = element("input", {
      type: "search",
      placeholder: words("gallery.search"),
      "aria-label": words("gallery.search"),
      oninput: () => this.filter(),
    });
    this.which = this.choice("gallery.show", ["all", "unreviewed", "reviewed", "noted", "failed"]);
    this.order = this.choice("gallery.sort", ["added", "name", "corrected"]);
    this.number = element("p", { class: "number", role: "status" });
    this.list = element("div", { class: "list", role: "list", "aria-label": words("gallery.fields") });
    this.space = element("div", { class: "space" }, this.list);
    this.window = element("div", { class: "window", tabindex: 0, role: "region", "aria-label": words("gallery.fields"), onscroll: () => this.place() }, this.space);
    root.append(
      element("div", { class: "tools" }, this.search, this.which, this.order, this.number),
      this.window,
    );
    this.observer = new ResizeObserver(() => this.place());
    this.observer.observe(this.window);
  }

  choice(label, values) {
    const options = values.map((value) => element("option", { value }, this.words(`${label}.${value}`)));
    return element("select", { "aria-label": this.words(label), onchange: () => this.filter() }, ...options);
  }

  async load() {
    const answer = await fetch("/api/fields");
    if (!answer.ok) return;
    const { rows, classes, change, key } = await answer.json();
    Object.assign(this, { rows, classes, change, key });
    this.filter();
  }

  async check() {
    if (document.hidden) return;
    try {
      const { change } = await (await fetch("/api/change")).json();
      if (change !== this.change) await this.load();
    } catch {
      // The server is away; the next poll tries again.
    }
  }

  filter() {
    const text = this.search.value.trim().toLowerCase();
    const keep = {
      all: () => true,
      unreviewed: (row) => !row.reviewed_by,
      reviewed: (row) => row.reviewed_by,
      noted: (row) => row.notes.length > 0,
      failed: (row) => row.status === "failed",
    }[this.which.value];
    this.shown = this.rows.filter((row) => keep(row) && row.name.toLowerCase().includes(text));
    if (this.order.value === "name") {
      const collator = new Intl.Collator(undefined, { numeric: true });
      this.shown.sort((a, b) => collator.compare(a.name, b.name));
    } else if (this.order.value === "corrected") this.shown.sort((a, b) => b.corrected - a.corrected);
    const { length } = this.shown;
    this.number.textContent = this.words(this.rows.length ? "gallery.number" : "gallery.empty", { number: length });
    this.drawn = null;
    this.place();
  }

  /** Put the cards of the rows in sight where they belong. */
  place() {
    const columns = Math.max(1, Math.floor((this.window.clientWidth + 12) / CARD));
    const rows = Math.ceil(this.shown.length / columns);
    this.space.style.height = `${rows * CARD_HEIGHT}px`;
    const first = Math.max(0, Math.floor(this.window.scrollTop / CARD_HEIGHT) - SPARE_ROWS);
    const last = Math.min(
      rows,
      Math.ceil((this.window.scrollTop + this.window.clientHeight) / CARD_HEIGHT) + SPARE_ROWS,
    );
    const key = `${columns} ${first} ${last}`;
    if (key === this.drawn) return;
    this.drawn = key;
    this.list.style.top = `${first * CARD_HEIGHT}px`;
    this.list.style.gridTemplateColumns = `repeat(${columns}, 1fr)`;
    const focused = this.shadowRoot.activeElement?.dataset?.field;
    const start = first * columns;
    const cards = this.shown.slice(start, last * columns).map((row, k) => this.card(row, start + k));
    this.list.replaceChildren(...cards);
    if (focused) this.list.querySelector(`[data-field="${focused}"]`)?.focus({ preventScroll: true });
  }

  card(row, index) {
    const { words } = this;
    const numbers = this.classes.map((cls) => {
      const count = row.counts?.[cls.name];
      const swatch = element("i", { "aria-hidden": "true" });
      swatch.style.background = `rgb(${cls.color.join(", ")})`;
      return element("span", {}, swatch, `${cls.name} `, element("b", {}, count ?? "–"));
    });
    const marks = [];
    if (row.reviewed_by) marks.push(element("span", { class: "reviewed" }, words("gallery.reviewed")));
    else if (row.status !== "counted") {
      marks.push(element("span", { class: `status ${row.status}` }, words(`status.${row.status}`)));
    }
    if (row.corrected) {
      marks.push(element("span", { class: "corrected" }, words("gallery.corrected", { number: row.corrected })));
    }
    const note = row.error ?? row.notes[0] ?? "";
    const picture = element("img", {
      src: `/api/fields/${row.id}/thumbnail?${this.key}`,
      alt: "",
      loading: "lazy",
      decoding: "async",
      onerror: () => (picture.style.visibility = "hidden"), // of a file that cannot be read
    });
    const link = element(
      "a",
      { href: `/fields/${row.id}`, "data-field": row.id },
      picture,
      element("span", { class: "name", title: row.name }, row.name),
      element("span", { class: "numbers" }, ...numbers),
      element("span", { class: "marks" }, ...marks, note ? element("span", { class: "note", title: note }, note) : ""),
    );
    return element(
      "div",
      { class: "card", role: "listitem", "aria-setsize": this.shown.length, "aria-posinset": index + 1 },
      link,
    );
  }
}

customElements.define("field-gallery", FieldGallery);
