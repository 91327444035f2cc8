/**
 * Text files, told by what is in them: names and types of files say little. UTF-8 proves itself, and so does UTF-16, by
 * its byte-order mark or zeros, and ISO-2022-JP by its escapes. Any bytes are some text in Windows-1252, and many in
 * Shift_JIS and EUC-JP; so these must also look like text. The names are those of the WHATWG's Encoding Standard.
 */

/** @typedef {{text: string, encoding: string}} Decoded */

export const UTF8 = "UTF-8";

/** Controls that text has: tab, line ends, form feed, and escape for colours. */
const WRITTEN = [0x09, 0x0a, 0x0c, 0x0d, 0x1b];

/** What decoders make of bytes that nobody writes as text. */
const UNWRITTEN = /[\x7f-\x9f\ue000-\uf8ff\ufffd]/;

/** So much of a file shows what it is, in bytes or characters. */
const SAMPLE = 100_000;

/** What no text in UTF-16 has: other controls than those, and characters that are private or not assigned. */
const UNASSIGNED = /[^\P{C}\p{Cf}\t\n\f\r\x1b]/u;

const KANA = /[\u3041-\u30ff\uff61-\uff9f]/;

/**
 * Half-width kana that are no Windows-1252: those from ﾀ on are its capitals with accents; those before are signs, few of
 * which stand beside such a letter.
 */
const HALF_WIDTH = /[ｦ-ｪｬ-ｯｱ-ｹｼ-ｾ]|[ｺｻ][ﾀ-ﾝ]|[ﾀ-ﾝ]ｰ[ﾀ-ﾝ]|[ｶ-ﾄﾊ-ﾎ][ﾞﾟ]/;

/** Letters that stand in a row where an alphabet is listed. */
const LISTED = /^[ÄÖÜäöüßÅåÆØæø]+$/;

/**
 * In this order: bytes of Shift_JIS are seldom valid in EUC-JP, but those of EUC-JP often are in Shift_JIS. Kana tell
 * EUC-JP from Chinese and Korean, which have the same bytes. Whatever is usual in Shift_JIS has a byte from 0x81 to 0x9F,
 * but for texts of half-width kana, as banks exchange them; what can be Windows-1252 is that then.
 * @type {{encoding: string, isLikely: (text: string, bytes: Uint8Array) => boolean}[]}
 */
const OTHERS = [
  { encoding: "ISO-2022-JP", isLikely: () => true },
  { encoding: "EUC-JP", isLikely: (text) => KANA.test(text) && looksJapanese(text) },
  {
    encoding: "Shift_JIS",
    isLikely: (text, bytes) =>
      (bytes.some((byte) => byte >= 0x81 && byte <= 0x9f) || /^[\0-\x7f\uff61-\uff9f]*$/.test(text)) && looksJapanese(text) && (!isHalfWidth(text) || HALF_WIDTH.test(text)),
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
  if (text !== null && !/\0|\x1b\$[@B]/.test(text)) return { text, encoding: unicode };
  if (unicode !== UTF8) return null;
  if (bytes.includes(0)) return decodeUnmarked(bytes);
  if (bytes.some((byte) => byte < 0x20 && !WRITTEN.includes(byte)) || isBrokenUtf8(bytes)) return null;
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
 * UTF-16 without a byte-order mark. Zeros are the upper halves of ASCII, which every text has, if only at the ends of its
 * lines. In the wrong order a line end is no character. A few zeros are lower halves, as that of 一.
 * @param {Uint8Array} bytes
 * @returns {Decoded | null}
 */
function decodeUnmarked(bytes) {
  let odd = 0; // and not even
  for (const [at, byte] of bytes.subarray(0, SAMPLE).entries()) if (byte === 0) odd += at % 2 === 0 ? -1 : 1;
  for (const encoding of [...(odd >= 0 ? ["UTF-16LE"] : []), ...(odd <= 0 ? ["UTF-16BE"] : [])]) {
    const text = decode(bytes, encoding);
    if (text === null || UNASSIGNED.test(text.slice(0, SAMPLE))) continue;
    return isAsciiWithZeros(bytes) && !/\s/.test(text) && !KANA.test(text) ? null : { text, encoding };
  }
  return null;
}

/**
 * Whether these are ASCII with zeros here and there, such as a list of file names. Some kana and kanji have such bytes, too.
 * @param {Uint8Array} bytes
 */
function isAsciiWithZeros(bytes) {
  const zeros = bytes.reduce((count, byte) => count + Number(byte === 0), 0);
  return zeros * 2 !== bytes.length && bytes.every((byte) => byte === 0 || WRITTEN.includes(byte) || (byte >= 0x20 && byte < 0x7f));
}

/** Whether most of what is no ASCII are half-width kana. @param {string} text */
function isHalfWidth(text) {
  return (text.match(/[\uff61-\uff9f]/g)?.length ?? 0) * 2 > (text.match(/[^\0-\x7f]/g)?.length ?? 0);
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
 * Letters with accents are few in a row, and signs do not stand before letters.
 * @param {string} text
 */
function looksWestern(text) {
  const runs = text.match(/[^\0-\x7f]+[@-z]?/g) ?? [];
  const odd = runs.filter((run) => /^[«»“„¿¡]?[^\0-\x7f«»“”]{3}|[¤¥¦§¨¬¯±²³´¶¸¹][@-z]$/.test(run) && !LISTED.test(run));
  return odd.length * 2 < runs.length;
}
