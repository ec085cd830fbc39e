/** The list of keys, as a dialog of the browser's own. */

import { element } from "../dom.js";
import { HELP } from "./keys.js";

export function helpDialog(words) {
  const rows = HELP.map(([keys, entry]) =>
    element("tr", {}, element("th", { scope: "row" }, element("kbd", {}, keys)), element("td", {}, words(entry))),
  );
  const dialog = element(
    "dialog",
    { class: "help", "aria-label": words("tools.help") },
    element("h2", {}, words("tools.help")),
    element("p", {}, words("editor.mouse")),
    element("table", {}, ...rows),
    element("form", { method: "dialog" }, element("button", { class: "accept" }, words("editor.close"))),
  );
  return dialog;
}
