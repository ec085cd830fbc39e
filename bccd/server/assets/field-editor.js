/** <field-editor field="7">: one field, large, to look at and to correct; others follow in its place. */

import { element, styledRoot } from "./dom.js";
import { Editor } from "./editor/editor.js";
import { Field } from "./editor/field.js";
import { helpDialog } from "./editor/help.js";
import { Panel } from "./editor/panel.js";
import { Sync } from "./editor/sync.js";
import { TileLayer } from "./editor/tiles.js";
import { Toolbar } from "./editor/toolbar.js";
import { loadWords } from "./words.js";

const STYLE = new URL("./field-editor.css", import.meta.url).href;
const MESSAGE_SHOWN = 5000; // milliseconds
const POLL = 1000; // milliseconds between looks for what others, or a counting, have changed

class FieldEditor extends HTMLElement {
  async connectedCallback() {
    if (this.shadowRoot) return;
    const { root, styled } = styledRoot(this, STYLE);
    this.words = await loadWords();
    await styled;
    this.build(root);
    this.leaving = (event) => {
      if (this.editor.sync?.waiting) event.preventDefault();
    };
    window.addEventListener("beforeunload", this.leaving);
    await this.open(Number(this.getAttribute("field")));
    this.poll = setInterval(() => this.follow(), POLL);
  }

  disconnectedCallback() {
    clearInterval(this.poll);
    this.editor?.stop();
    this.observer?.disconnect();
    window.removeEventListener("beforeunload", this.leaving);
  }

  build(root) {
    const { words } = this;
    this.pixels = element("canvas", { "aria-hidden": "true" });
    this.overlay = element("canvas", { "aria-hidden": "true" });
    this.surface = element(
      "div",
      { class: "surface", tabindex: 0, role: "application", "aria-label": words("editor.surface") },
      this.pixels,
      this.overlay,
    );
    this.message = element("div", { class: "message", role: "status" });
    this.live = element("div", { class: "unseen", "aria-live": "polite" });
    this.editor = new Editor(this.surface, this.pixels, this.overlay, this);
    this.toolbar = new Toolbar(this.editor, words);
    this.panel = new Panel(this.editor, words, this);
    this.dialog = helpDialog(words);
    const picture = element("div", { class: "picture" }, this.surface, this.message);
    const body = element("div", { class: "body" }, picture, this.panel.root);
    root.append(this.toolbar.root, body, this.live, this.dialog);
    this.observer = new ResizeObserver(() => {
      this.editor.resize(this.surface.clientWidth, this.surface.clientHeight);
    });
    this.observer.observe(this.surface);
  }

  async open(id) {
    const address = `/api/fields/${id}`;
    const { change } = await (await fetch("/api/change")).json();
    const answer = await fetch(address);
    const body = await answer.json();
    if (!answer.ok) {
      this.complain(body.error);
      return;
    }
    this.change = change;
    this.field = new Field(body);
    const page = {
      changed: () => this.editor.changed(),
      renamed: (names) => this.editor.renamed(names),
      say: (key, values) => this.say(key, values),
      complain: (sentence) => this.complain(sentence),
    };
    const tiles = new TileLayer(
      `${address}/tiles`,
      body.key,
      body.levels,
      () => this.editor.draw(),
      () => this.say("editor.no_pixels"),
    );
    this.editor.open(this.field, tiles, new Sync(address, this.field, page));
    this.editor.resize(this.surface.clientWidth, this.surface.clientHeight);
    this.panel.open();
    this.refresh();
    document.title = body.row.name;
    history.replaceState(history.state, "", `/fields/${id}`);
    this.setAttribute("field", id);
    this.dataset.ready = "true";
  }

  /** Take over what was changed elsewhere, unless the hand is at work. */
  async follow() {
    const { editor } = this;
    const isBusy = () => editor.gestures.drag || editor.preview || editor.sync?.waiting;
    if (document.hidden || !this.field || isBusy()) return;
    try {
      const { change } = await (await fetch("/api/change")).json();
      if (change === this.change || isBusy()) return;
      this.change = change;
      await editor.sync.reload();
    } catch {
      // The server is away; the next look tries again.
    }
  }

  refresh() {
    if (!this.field) return;
    this.toolbar.refresh();
    this.panel.refresh();
    this.dataset.waiting = String(this.editor.sync.waiting);
  }

  say(key, values) {
    this.complain(this.words(key, values));
  }

  complain(sentence) {
    this.message.textContent = sentence;
    clearTimeout(this.fading);
    this.fading = setTimeout(() => (this.message.textContent = ""), MESSAGE_SHOWN);
  }

  announce(sentence) {
    this.live.textContent = sentence;
  }

  help() {
    this.dialog.showModal();
  }

  async saveThresholds(scores) {
    const answer = await fetch("/api/thresholds", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ thresholds: scores }),
    });
    if (!answer.ok) this.complain((await answer.json()).error);
    await this.editor.sync.reload();
  }

  async removeField() {
    if (!window.confirm(this.words("editor.remove_sure", { name: this.field.base.row.name }))) return;
    const number = this.getAttribute("field");
    const { id } = await (await fetch(`/api/fields/${number}/neighbour?step=1`)).json();
    const answer = await fetch(`/api/fields/${number}/remove`, { method: "POST" });
    if (!answer.ok) this.complain((await answer.json()).error);
    else if (id === null) window.location.assign("/");
    else await this.open(id);
  }

  /** Go to the next or previous field once what is under way has been stored. */
  async otherField(step) {
    const address = `/api/fields/${this.getAttribute("field")}/neighbour?step=${step}`;
    const answer = await fetch(address).catch(() => null);
    if (!answer) {
      this.say("drop.unreachable");
      return;
    }
    const { id } = await answer.json();
    if (id === null) this.say(step > 0 ? "editor.last_field" : "editor.first_field");
    else await this.open(id);
  }

  /** After accepting: on to the next field that nobody has reviewed. */
  async accepted() {
    const answer = await fetch(`/api/fields/${this.getAttribute("field")}/neighbour?step=1&unreviewed=1`);
    const { id } = await answer.json();
    if (id === null) this.say("editor.all_reviewed");
    else {
      await this.open(id);
      this.say("editor.accepted_next");
    }
  }
}

customElements.define("field-editor", FieldEditor);
