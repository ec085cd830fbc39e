/**
 * Brings strokes to the server, one after another, and its answers to the field.
 *
 * A stroke shows before it is sent. When the server cannot be reached it waits and is sent again; when
 * somebody else changed the field meanwhile, the field is loaded anew and the person is told.
 */

const RETRY_AFTER = 2000; // milliseconds

export class Sync {
  /**
   * @param {string} address of the field in the server's interface.
   * @param {import("./field.js").Field} field
   * @param {{changed: () => void, renamed: (names: Map<string, string>) => void, say: (key: string, values?: object) => void,
   *     complain: (sentence: string) => void}} page
   */
  constructor(address, field, page) {
    this.address = address;
    this.field = field;
    this.page = page;
    this.queue = [];
    this.busy = false;
  }

  get waiting() {
    return this.queue.length;
  }

  /** Show a stroke and send it; resolves when the server has stored it, false when it did not. */
  stroke(changes) {
    this.field.add(changes);
    return this.put({ verb: "edit", changes });
  }

  undo() {
    return this.put({ verb: "undo" });
  }

  redo() {
    return this.put({ verb: "redo" });
  }

  put(item) {
    return new Promise((resolve) => {
      this.queue.push({ ...item, resolve });
      this.page.changed();
      this.pump();
    });
  }

  async pump() {
    if (this.busy || !this.queue.length) return;
    this.busy = true;
    const item = this.queue[0];
    let answer = null;
    try {
      answer = await this.post(item);
    } catch {
      this.page.say("editor.offline", { number: this.queue.length });
      setTimeout(() => {
        this.busy = false;
        this.pump();
      }, RETRY_AFTER);
      return;
    }
    if (answer.ok) {
      this.queue.shift();
      this.page.renamed(this.field.settle(await answer.json(), item.changes ?? null));
      item.resolve(true);
    } else {
      await this.refused(answer);
    }
    this.busy = false;
    this.page.changed();
    this.pump();
  }

  post({ verb, changes }) {
    const body = changes
      ? { changes: changes.map(({ temporary, ...rest }) => rest), version: this.field.base.row.version }
      : {};
    return fetch(`${this.address}/${verb}`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
    });
  }

  async refused(answer) {
    const { error } = await answer.json().catch(() => ({ error: answer.statusText }));
    const dropped = this.queue.splice(0);
    this.field.dropPending();
    await this.reload();
    if (answer.status === 409) this.page.say("editor.changed_elsewhere");
    else this.page.complain(error);
    for (const item of dropped) item.resolve(false);
  }

  /** Take the field as the server has it now. */
  async reload() {
    const answer = await fetch(this.address);
    if (!answer.ok) return;
    const field = await answer.json();
    // A stroke that was made meanwhile has brought a newer one.
    const isNewer = field.row.version >= this.field.base.row.version;
    if (isNewer && !this.queue.length) this.field.settle(field, null);
    this.page.changed();
  }
}
