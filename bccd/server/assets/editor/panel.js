/** Beside the picture: counts by class with their sliders, regions, what was done, and accepting. */

import { element } from "../dom.js";
import { rgb } from "./paint.js";

const HISTORY_SHOWN = 30;

export class Panel {
  /**
   * @param {import("./editor.js").Editor} editor
   * @param {Function} words
   * @param {{saveThresholds: (scores: Object<string, number>) => void, removeField: () => void}} page
   */
  constructor(editor, words, page) {
    this.editor = editor;
    this.words = words;
    this.page = page;
    this.classRows = new Map();
    this.counts = element("div", { class: "classes" });
    this.notes = element("div", { class: "notes" });
    this.regions = element("div", { class: "regions" });
    this.history = element("ul", { class: "history" });
    this.accept = element("button", { type: "button", class: "accept", onclick: () => this.decide() });
    this.state = element("p", { class: "state" });
    this.root = element(
      "section",
      { class: "panel", "aria-label": words("editor.panel") },
      this.state,
      this.notes,
      this.heading("editor.counts"),
      this.counts,
      element(
        "button",
        { type: "button", class: "quiet", onclick: () => this.modelThresholds() },
        words("editor.model_thresholds"),
      ),
      this.contrast(),
      this.heading("editor.regions"),
      this.regions,
      this.accept,
      this.heading("editor.history"),
      this.history,
      element(
        "button",
        { type: "button", class: "quiet remove", onclick: () => page.removeField() },
        words("editor.remove_field"),
      ),
    );
  }

  heading(key) {
    return element("h2", {}, this.words(key));
  }

  /** Sliders that change how the pixels are shown, never the counts. */
  contrast() {
    const values = { brightness: 100, contrast: 100 };
    const show = () => {
      this.editor.pixels.style.filter = `brightness(${values.brightness}%) contrast(${values.contrast}%)`;
    };
    const sliders = [];
    const slider = (name) => {
      const input = element("input", { type: "range", min: 30, max: 300, value: 100 });
      input.addEventListener("input", () => {
        values[name] = Number(input.value);
        show();
      });
      sliders.push([name, input]);
      return element("label", { class: "pixels" }, this.words(`editor.${name}`), input);
    };
    const reset = element("button", { type: "button", class: "quiet" }, this.words("editor.reset"));
    reset.addEventListener("click", () => {
      for (const [name, input] of sliders) [input.value, values[name]] = [100, 100];
      show();
    });
    const summary = element("summary", {}, this.words("editor.pixels"));
    return element("details", {}, summary, slider("brightness"), slider("contrast"), reset);
  }

  /** Build the rows of the classes, once for each field. */
  open() {
    this.classRows.clear();
    this.counts.replaceChildren(...this.editor.field.classes.map((cls, k) => this.classRow(cls, k)));
  }

  classRow(cls, index) {
    const { editor, words } = this;
    const swatch = element("span", { class: "swatch", "aria-hidden": "true" });
    swatch.style.background = rgb(cls.color);
    const shown = element("input", {
      type: "checkbox",
      "aria-label": words("editor.show_class", { name: cls.name }),
      onchange: () => editor.showClass(cls.name, shown.checked),
    });
    shown.checked = !editor.field.hiddenClasses.has(cls.name);
    const choose = element(
      "button",
      {
        type: "button",
        class: "class-name",
        title: words("editor.choose_class", { name: cls.name, key: cls.key }),
        onclick: () => editor.chooseClass(index),
      },
      swatch,
      cls.name,
      element("kbd", { "aria-hidden": "true" }, cls.key),
    );
    const count = element("output", { class: "count", "data-class": cls.name });
    const interval = element("span", { class: "interval" });
    const score = element("span", { class: "score" });
    const slider = element("input", {
      type: "range",
      min: 0.05,
      max: 1,
      step: 0.01,
      "aria-label": words("editor.threshold", { name: cls.name }),
    });
    slider.addEventListener("input", () => editor.setThreshold(cls.name, Number(slider.value)));
    slider.addEventListener("change", () => this.save());
    this.classRows.set(cls.name, { choose, count, interval, slider, score });
    return element(
      "div",
      { class: "class" },
      shown,
      choose,
      count,
      interval,
      element("div", { class: "slider" }, slider, score),
    );
  }

  save() {
    this.page.saveThresholds(Object.fromEntries(this.editor.field.thresholds));
  }

  modelThresholds() {
    for (const cls of this.editor.field.classes) this.editor.setThreshold(cls.name, cls.model_threshold);
    this.page.saveThresholds({});
  }

  decide() {
    if (this.editor.field.accepted) this.editor.reopen();
    else this.editor.accept();
  }

  refresh() {
    const { editor, words } = this;
    const { field } = editor;
    this.refreshCounts(field);
    this.refreshRegions(field);
    const { row } = field.base;
    this.state.textContent = field.accepted
      ? words("editor.accepted_by", { who: row.reviewed_by })
      : words(`status.${row.status}`);
    this.state.classList.toggle("accepted", field.accepted);
    this.accept.textContent = words(field.accepted ? "editor.reopen" : "editor.accept");
    const notes = row.error ? [row.error, ...row.notes] : row.notes;
    this.notes.replaceChildren(...notes.map((note) => element("p", { class: "note" }, note)));
    const entries = [...field.base.history].sort((a, b) => b.number - a.number);
    this.history.replaceChildren(...entries.slice(0, HISTORY_SHOWN).map((entry) => this.entry(entry)));
  }

  /** What was done, by whom and when. */
  entry({ kind, steps, who, at }) {
    const { words } = this;
    const step = ({ do: what, times: number, ...values }) => {
      const text = words(`history.${what}`, values);
      return number > 1 ? words("history.times", { text, number }) : text;
    };
    const text = steps.map(step).join(", ");
    const language = document.documentElement.lang;
    const time = new Date(at);
    const isToday = time.toDateString() === new Date().toDateString();
    const when = isToday ? time.toLocaleTimeString(language, { timeStyle: "short" }) : time.toLocaleDateString(language);
    return element(
      "li",
      { title: time.toLocaleString(language) },
      kind === "edit" ? text : words(`history.${kind}`, { text }),
      element("small", {}, ` ${who}, ${when}`),
    );
  }

  refreshCounts(field) {
    const counts = field.tally();
    const waiting = field.pending.length > 0;
    const isUnknown = !field.base.row.counts && !waiting; // no 0 where nothing was counted
    field.classes.forEach((cls, k) => {
      const row = this.classRows.get(cls.name);
      const threshold = field.thresholds.get(cls.name);
      row.count.value = isUnknown ? "–" : String(counts[cls.name]);
      const interval = field.base.row.intervals?.[cls.name];
      row.interval.textContent = interval && !waiting ? `${interval[0]} – ${interval[1]}` : "";
      row.interval.title = this.words("editor.interval");
      if (document.activeElement !== row.slider) row.slider.value = String(threshold);
      row.slider.disabled = field.accepted;
      row.score.textContent = threshold.toFixed(2);
      row.choose.setAttribute("aria-pressed", String(this.editor.current === k));
    });
  }

  refreshRegions(field) {
    const { words } = this;
    const rows = [...field.regions.values()].map((region) => {
      const counts = Object.entries(field.tally(region.vertices));
      const remove = element(
        "button",
        {
          type: "button",
          class: "quiet",
          "aria-label": words("editor.remove_region", { name: region.name }),
          onclick: () => this.editor.removeRegion(region.id),
        },
        "×",
      );
      const numbers = counts.map(([name, count]) => `${name} ${count}`).join(", ");
      const text = element("span", {}, element("b", {}, region.name), ` ${numbers}`);
      return element("p", { class: "region" }, text, remove);
    });
    this.regions.replaceChildren(
      ...(rows.length ? rows : [element("p", { class: "hint" }, words("editor.no_regions"))]),
    );
  }
}
