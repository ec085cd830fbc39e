/** <job-list>: what is being counted or trained, how far it is, and a button that stops it. */

import { element } from "./dom.js";
import { loadWords } from "./words.js";

const POLL = 1000; // milliseconds
const ACTIVE = ["waiting", "running"];

class JobList extends HTMLElement {
  async connectedCallback() {
    this.words = await loadWords();
    await this.check();
    this.poll = setInterval(() => this.check(), POLL);
  }

  disconnectedCallback() {
    clearInterval(this.poll);
  }

  /** Show active jobs, and the last one when it failed. */
  async check() {
    let jobs = [];
    try {
      const answer = await fetch("/api/jobs");
      if (!answer.ok) return;
      ({ jobs } = await answer.json());
    } catch {
      return; // the server is away; the next poll tries again
    }
    const active = jobs.filter((job) => ACTIVE.includes(job.status));
    const failed = jobs.length && jobs[0].status === "failed" ? [jobs[0]] : [];
    this.dataset.active = String(active.length);
    const state = JSON.stringify([...active, ...failed]);
    if (state === this.state) return;
    const wasActive = this.state && JSON.parse(this.state).some((job) => ACTIVE.includes(job.status));
    this.state = state;
    this.replaceChildren(...[...active, ...failed].map((job) => this.row(job)));
    if (wasActive && !active.length) this.dispatchEvent(new CustomEvent("finished", { bubbles: true }));
  }

  row(job) {
    const { words } = this;
    const kind = words(`job.${job.kind}`);
    if (job.status === "failed") {
      return element("div", { class: "job warning" }, `${kind}: ${job.message}`);
    }
    const label = job.total ? `${kind}: ${job.done} / ${job.total}` : `${kind}: ${words("job.waiting")}`;
    const progress = element("progress", { "aria-label": kind, max: job.total || 1 });
    if (job.total) progress.value = job.done;
    const cancel = element(
      "button",
      { type: "button", class: "button", onclick: () => this.cancel(job.id, cancel) },
      words("job.cancel"),
    );
    return element(
      "div",
      { class: "job" },
      element("span", {}, label),
      progress,
      element("span", { class: "faint" }, job.message),
      cancel,
    );
  }

  async cancel(id, button) {
    button.disabled = true;
    await fetch(`/api/jobs/${id}/cancel`, { method: "POST" });
    await this.check();
  }
}

customElements.define("job-list", JobList);
