/**
 * Counts what the parser does, without a clock: how often its blocks of code run, as the engine's coverage counts
 * them, and how many characters the engine's own functions read for it.
 */

import { Session } from "node:inspector/promises";

const session = new Session();
session.connect();
await session.post("Profiler.enable");
await session.post("Profiler.startPreciseCoverage", { callCount: true, detailed: true });

/** Characters that native functions have read. */
let read = 0;

/**
 * @param {any} prototype
 * @param {string} name
 * @param {(self: any, result: any, argument: any) => number} cost
 */
function charge(prototype, name, cost) {
  const original = prototype[name];
  prototype[name] = function (...given) {
    const result = original.apply(this, given);
    read += cost(this, result, given[0]);
    return result;
  };
}

const whole = (/** @type {{length: number}} */ self) => self.length;
for (const name of ["trim", "trimStart", "trimEnd", "split", "replace", "replaceAll", "includes"]) charge(String.prototype, name, whole);
charge(String.prototype, "repeat", (_, result) => result.length);
charge(Array.prototype, "splice", (self, result) => result.length + 1);
charge(Array.prototype, "join", whole);
charge(String.prototype, "match", whole);
charge(String.prototype, "matchAll", whole);
charge(RegExp.prototype, "test", (_, result, text) => text.length);

// The functions above call it for each match of a global pattern, whose characters they have counted.
const { exec } = RegExp.prototype;
RegExp.prototype.exec = function (text) {
  const found = exec.call(this, text);
  if (this.sticky) read += (found?.[0].length ?? 0) + 1;
  else if (!this.global) read += text.length;
  return found;
};

/**
 * @param {() => void} action
 * @returns {Promise<number>}
 */
export async function operations(action) {
  await session.post("Profiler.takePreciseCoverage"); // begins anew
  read = 0;
  action();
  const characters = read;
  const { result } = await session.post("Profiler.takePreciseCoverage");
  let count = 0;
  for (const script of result) {
    if (!script.url.includes("/web/markdown/")) continue;
    for (const { ranges } of script.functions) for (const range of ranges) count += range.count;
  }
  return count + characters;
}
