/**
 * <file-drop>: images dropped here, chosen, or dropped anywhere on the page go to the study.
 *
 * Files are sent one after another, each as the body of a request, so that one that is refused stops
 * none of the others; when all have been sent, those that are new are counted.
 */

import { element, styledRoot } from "./dom.js";
import { loadWords } from "./words.js";

const STYLE = new URL("./file-drop.css", import.meta.url).href;

class FileDrop extends HTMLElement {
  async connectedCallback() {
    if (this.shadowRoot) return;
    const { root } = styledRoot(this, STYLE);
    this.words = await loadWords();
    this.build(root);
    this.listeners = new AbortController();
    const { signal } = this.listeners;
    window.addEventListener("dragover", (event) => this.over(event), { signal });
    window.addEventListener("dragleave", () => this.classList.remove("over"), { signal });
    window.addEventListener("drop", (event) => this.drop(event), { signal });
    this.dataset.ready = "true";
  }

  disconnectedCallback() {
    this.listeners?.abort();
  }

  build(root) {
    const { words } = this;
    const input = (extra) => {
      const made = element("input", { type: "file", multiple: true, ...extra });
      made.addEventListener("change", async () => {
        await this.send([...made.files]);
        made.value = "";
      });
      return made;
    };
    this.state = element("p", { class: "state", role: "status" });
    this.refused = element("ul", { class: "refused" });
    root.append(
      element(
        "div",
        { class: "drop" },
        element("p", { class: "hint" }, words("drop.hint")),
        element("label", { class: "choose" }, words("drop.files"), input({ class: "files" })),
        element("label", { class: "choose quiet" }, words("drop.folder"), input({ webkitdirectory: true })),
      ),
      this.state,
      this.refused,
    );
  }

  over(event) {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    this.classList.add("over");
  }

  async drop(event) {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    this.classList.remove("over");
    const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.());
    const files = entries.some((entry) => entry?.isDirectory)
      ? (await Promise.all(entries.filter(Boolean).map(filesIn))).flat()
      : [...event.dataTransfer.files];
    await this.send(files);
  }

  async send(files) {
    if (!files.length) return;
    this.refused.replaceChildren();
    let stored = 0;
    for (const [k, file] of files.entries()) {
      this.state.textContent = this.words("drop.sending", { number: k + 1, all: files.length, name: file.name });
      if (await this.sendOne(file)) stored += 1;
    }
    this.state.textContent = this.words("drop.sent", { number: stored });
    if (stored) await fetch("/api/count", { method: "POST" });
    this.dispatchEvent(new CustomEvent("stored", { detail: stored }));
  }

  /** Send one file; one that is refused is named with the server's reason. */
  async sendOne(file) {
    let reason = "";
    try {
      const answer = await fetch(`/api/uploads?name=${encodeURIComponent(file.name)}`, {
        method: "POST",
        headers: { "Content-Type": "application/octet-stream" },
        body: file,
      });
      if (answer.ok) return true;
      reason = (await answer.json()).error;
    } catch {
      reason = this.words("drop.unreachable");
    }
    this.refused.append(element("li", {}, element("b", {}, file.name), `: ${reason}`));
    return false;
  }
}

/** All files below what was dropped, folders included. */
async function filesIn(entry) {
  if (entry.isFile) return [await new Promise((resolve, reject) => entry.file(resolve, reject))];
  const reader = entry.createReader();
  const files = [];
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!some.length) return files;
    files.push(...(await Promise.all(some.map(filesIn))).flat());
  }
}

customElements.define("file-drop", FileDrop);
