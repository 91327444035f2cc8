/**
 * Text files, told by what is in them: names and types of files say little. UTF-8 and UTF-16 prove themselves. Any
 * bytes are some text in Windows-1252, and many are in Shift_JIS and EUC-JP; so a text in one of these must also look like
 * one. The names of encodings are those of the WHATWG's Encoding Standard.
 */

/** @typedef {{text: string, encoding: string}} Decoded */

export const UTF8 = "UTF-8";

/** Controls that text has: tab, line ends, form feed, and escape for colours. */
const WRITTEN = [0x09, 0x0a, 0x0c, 0x0d, 0x1b];

/** What decoders make of bytes that nobody writes as text. */
const UNWRITTEN = /[\x7f-\x9f\ue000-\uf8ff\ufffd]/;

/** So much of a file shows what it is, in bytes or characters. */
const SAMPLE = 100_000;

const KANA = /[\u3041-\u30ff\uff61-\uff9f]/;

/**
 * In this order: bytes of Shift_JIS are seldom valid in EUC-JP, but those of EUC-JP often are in Shift_JIS. Kana tell
 * EUC-JP from Chinese and Korean, which have the same bytes. Whatever is usual in Shift_JIS has a byte from 0x81 to 0x9F,
 * but for texts of half-width kana, as banks exchange them.
 * @type {{encoding: string, isLikely: (text: string, bytes: Uint8Array) => boolean}[]}
 */
const OTHERS = [
  { encoding: "EUC-JP", isLikely: (text) => KANA.test(text) && looksJapanese(text) },
  {
    encoding: "Shift_JIS",
    isLikely: (text, bytes) => (bytes.some((byte) => byte >= 0x81 && byte <= 0x9f) || /^[\0-\x7f\uff61-\uff9f]*$/.test(text)) && looksJapanese(text),
  },
  { encoding: "Windows-1252", isLikely: looksWestern },
];

/**
 * The text of a file, without a byte-order mark.
 * @param {Uint8Array} bytes
 * @returns {Decoded | null} null for what is no text in any of these encodings
 */
export function decodeText(bytes) {
  const unicode = encodingOf(bytes);
  const text = decode(bytes, unicode);
  if (text !== null) return text.includes("\0") ? null : { text, encoding: unicode };
  if (unicode !== UTF8 || bytes.some((byte) => byte < 0x20 && !WRITTEN.includes(byte)) || isBrokenUtf8(bytes)) return null;
  for (const { encoding, isLikely } of OTHERS) {
    const other = decode(bytes, encoding);
    if (other !== null && !UNWRITTEN.test(other) && isLikely(other.slice(0, SAMPLE), bytes)) return { text: other, encoding };
  }
  return null;
}

/**
 * @param {Uint8Array} bytes
 * @param {string} encoding
 * @returns {string | null} null where the bytes break its rules
 */
function decode(bytes, encoding) {
  try {
    return new TextDecoder(encoding, { fatal: true }).decode(bytes);
  } catch {
    return null;
  }
}

/** @param {Uint8Array} bytes */
function encodingOf([first, second]) {
  if (first === 0xff && second === 0xfe) return "UTF-16LE";
  return first === 0xfe && second === 0xff ? "UTF-16BE" : UTF8;
}

/**
 * Whether most of what is no ASCII is UTF-8. A file that was cut, or that has a few other bytes, would be read as nonsense in
 * any other encoding.
 * @param {Uint8Array} bytes
 */
function isBrokenUtf8(bytes) {
  const text = new TextDecoder(UTF8).decode(bytes.subarray(0, SAMPLE));
  const good = text.match(/[^\0-\x7f\ufffd]/g)?.length ?? 0;
  return good > 0 && good >= (text.match(/\ufffd/g)?.length ?? 0);
}

/**
 * Japanese stands in runs, or beside digits, marks and spaces. A Western text that is taken for it has single
 * characters beside letters: an accented letter takes the next letter with it, as does the apostrophe in "don’t".
 * @param {string} text
 */
function looksJapanese(text) {
  let good = 0;
  let bad = 0;
  for (const { 0: run, index } of text.matchAll(/[^\0-\x7f]+/g)) {
    const isAlone = run.length === 1 && (/[\uff61-\uff9f]/.test(run) || /[a-z]/i.test((text[index - 1] ?? "") + (text[index + 1] ?? "")));
    if (isAlone) bad += 1;
    else good += run.length;
  }
  return good > bad;
}

/**
 * Letters with accents are few in a row, and signs do not stand before letters. Otherwise it is Cyrillic, Greek, Chinese
 * or Korean, which are not read.
 * @param {string} text
 */
function looksWestern(text) {
  const runs = text.match(/[^\0-\x7f]+[@-z]?/g) ?? [];
  const odd = runs.filter((run) => /^[^\0-\x7f]{3}|[¤¥¦§¨¬¯±²³´¶¸¹][@-z]$/.test(run));
  return odd.length * 2 < runs.length;
}
