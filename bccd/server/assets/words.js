/** The sentences of the page's language, from the same catalogue as the server's. */

const catalogues = new Map();

/** Load the catalogue of the document's language; returns the function that looks up its entries. */
export async function loadWords(language = document.documentElement.lang || "en") {
  if (!catalogues.has(language)) {
    const answer = await fetch(`/api/words/${encodeURIComponent(language)}`);
    catalogues.set(language, await answer.json());
  }
  const entries = catalogues.get(language);
  return (key, values = {}) =>
    entries[key].replace(/\{(\w+)\}/g, (_, name) => String(values[name]));
}
