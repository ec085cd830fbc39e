/** Fills the grid of the results with the study's fields, keeps it up to date, and copies it. */

import { element } from "./dom.js";
import { loadWords } from "./words.js";

const POLL = 1000; // milliseconds

class ResultsTable {
  /** Take the grid; called by it when it is there. */
  async attach(grid) {
    this.grid = grid;
    this.words = await loadWords();
    document.getElementById("copy-table").addEventListener("click", () => this.copy());
    await this.load();
    grid.autoSizeAllColumns?.();
    setInterval(() => this.check(), POLL);
  }

  async load() {
    const answer = await fetch("/api/fields");
    if (!answer.ok) return;
    const { rows, classes, change } = await answer.json();
    this.change = change;
    this.grid.setGridOption("rowData", rows.map((row) => this.flat(row, classes)));
    document.body.dataset.rows = String(rows.length);
  }

  async check() {
    if (document.hidden || this.grid.isDestroyed?.()) return;
    try {
      const { change } = await (await fetch("/api/change")).json();
      if (change !== this.change) await this.load();
    } catch {
      // The server is away; the next poll tries again.
    }
  }

  flat(row, classes) {
    const flat = {
      id: row.id,
      name: row.name,
      state: this.words(row.reviewed_by ? "gallery.reviewed" : `status.${row.status}`),
      corrected: row.corrected,
      reviewed_by: row.reviewed_by ?? "",
      diameter: row.diameter === null ? null : Math.round(row.diameter * 10) / 10,
      notes: [row.error, ...row.notes].filter(Boolean).join("; "),
    };
    for (const { name } of classes) {
      flat[`now ${name}`] = row.counts?.[name] ?? null;
      flat[`model ${name}`] = row.model_counts?.[name] ?? null;
      flat[`interval ${name}`] = row.intervals?.[name]?.join(" – ") ?? "";
    }
    return flat;
  }

  /** The cell of a name: a link, with the name as text. */
  link({ data, value }) {
    return element("a", { href: `/fields/${data.id}`, class: "cell-link" }, value);
  }

  /** Copy what is shown, in its order, as a spreadsheet takes it. */
  async copy() {
    const columns = this.grid.getAllDisplayedColumns();
    const clean = (value) => String(value ?? "").replace(/[\t\r\n]+/g, " ");
    const lines = [columns.map((column) => clean(column.getColDef().headerName)).join("\t")];
    this.grid.forEachNodeAfterFilterAndSort(({ data }) => {
      lines.push(columns.map((column) => safe(clean(data[column.getColDef().field]))).join("\t"));
    });
    await toClipboard(lines.join("\n"));
    const state = document.getElementById("table-state");
    state.textContent = this.words("results.copied", { number: lines.length - 1 });
  }
}

/** A spreadsheet takes what begins so for a formula; a file's name must not be one. */
function safe(value) {
  return /^[=+\-@]/.test(value) && Number.isNaN(Number(value)) ? `'${value}` : value;
}

async function toClipboard(text) {
  if (navigator.clipboard) {
    await navigator.clipboard.writeText(text);
    return;
  }
  // Over plain HTTP from another computer browsers offer no clipboard but this one.
  const area = element("textarea", {}, text);
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}

window.resultsTable = new ResultsTable();
