/**
 * The addresses of conversations: `#/c/ID`, and `#/` or none for a new one. No DOM here.
 */

const CONVERSATION = "#/c/";

/**
 * @param {string | null} id null for a new conversation
 * @returns {string}
 */
export function addressOf(id) {
  return id === null ? "#/" : CONVERSATION + encodeURIComponent(id);
}

/**
 * @param {string} hash the part of an address from `#` on
 * @returns {string | null} the id of the conversation that it names
 */
export function conversationAt(hash) {
  if (!hash.startsWith(CONVERSATION)) return null;
  const name = hash.slice(CONVERSATION.length);
  try {
    return decodeURIComponent(name);
  } catch {
    return name;
  }
}
