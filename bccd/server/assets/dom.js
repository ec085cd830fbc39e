/** Building elements: text goes in as text, so a file's name can never become markup. */

/**
 * @param {string} tag
 * @param {Object<string, *>} attributes `on...` are listeners; false and null leave one out.
 * @param {...(Node|string)} children
 */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) {
      made.setAttribute(name, value);
    }
  }
  made.append(...children);
  return made;
}

/**
 * A custom element's own tree, with a style sheet.
 * @returns {{root: ShadowRoot, styled: Promise}} `styled` resolves when the style sheet is there.
 */
export function styledRoot(host, address) {
  const root = host.attachShadow({ mode: "open" });
  const style = element("link", { rel: "stylesheet", href: address });
  const styled = new Promise((resolve) => style.addEventListener("load", resolve));
  root.append(style);
  return { root, styled };
}

/** A shape of at most a few lines, drawn in the colour of the text. */
export function icon(path) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  const shape = document.createElementNS(space, "path");
  shape.setAttribute("d", path);
  svg.append(shape);
  return svg;
}
