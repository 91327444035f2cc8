/**
 * What differs between two states of something, as the record of changes has them.
 */

/** @typedef {string | number | boolean | null} Plain */

/** @typedef {{path: string[], before: Plain, after: Plain}} Difference */

/**
 * @param {Record<string, any> | null} before
 * @param {Record<string, any> | null} after
 * @returns {Difference[]} in the order of the names in `after`, then of those that only `before` has
 */
export function differences(before, after) {
  const [old, made] = [flat(before), flat(after)];
  return [...new Map([...made, ...old]).keys()].flatMap((key) => {
    const [then, now] = [old.get(key)?.value ?? null, made.get(key)?.value ?? null];
    const path = (made.get(key) ?? old.get(key))?.path ?? [];
    return then === now ? [] : [{ path, before: then, after: now }];
  });
}

/**
 * Every plain value with the names that lead to it. A list is one value: its parts are names, which change together.
 * @param {unknown} state
 * @param {string[]} [above]
 * @returns {Map<string, {path: string[], value: Plain}>}
 */
function flat(state, above = []) {
  if (Array.isArray(state)) return new Map([[above.join("\n"), { path: above, value: state.map(String).join(", ") || null }]]);
  if (typeof state !== "object" || state === null) return new Map([[above.join("\n"), { path: above, value: /** @type {Plain} */ (state) }]]);
  return new Map(Object.entries(state).flatMap(([name, value]) => [...flat(value, [...above, name])]));
}
