/**
 * What the first paint does not need. The document names those modules in a template, so that the browser asks for
 * all of them at once; modules that use one of them import it with `import()`.
 */

import { byId } from "./dom.js";

/**
 * Resolves after the next frame. The first one comes when the document's script has run.
 * @returns {Promise<void>}
 */
function painted() {
  return new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
}

/** Loads the modules of the template once the page has been painted. */
export const loading = painted().then(() => document.head.append(byId("later", HTMLTemplateElement).content));
