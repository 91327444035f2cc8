/**
 * Pictures, drawn anew before they are sent: no larger than a model looks at, and without what a camera writes beside
 * them. Of an animation that is the first frame; the service refuses animated GIFs.
 */

/** Models scale larger pictures down themselves. */
const LONG_SIDE = 2048;

/** A picture that does not fit even so would show nothing. */
const SHORTEST_LONG_SIDE = 256;

/**
 * How a picture may be written, the best first. The service takes 20 MB; PNG is for drawings and screens, where it is
 * small.
 */
const ENCODINGS = [
  { type: "image/png", quality: undefined, mostCharacters: 1_500_000 },
  { type: "image/jpeg", quality: 0.9, mostCharacters: 20_000_000 },
  { type: "image/jpeg", quality: 0.75, mostCharacters: 20_000_000 },
];

/**
 * @param {Blob} file
 * @param {number} room the most characters of the data URL
 * @returns {Promise<{type: string, size: number, data: string} | "unreadable" | "too-large">} unreadable: no picture
 *   that this browser knows
 */
export async function readPicture(file, room) {
  const bitmap = await createImageBitmap(file).catch(() => null);
  if (bitmap === null) return "unreadable";
  try {
    return encode(bitmap, file.type === "image/jpeg" ? ENCODINGS.slice(1) : ENCODINGS, room);
  } finally {
    bitmap.close();
  }
}

/**
 * @param {ImageBitmap} bitmap
 * @param {typeof ENCODINGS} encodings
 * @param {number} room
 */
function encode(bitmap, encodings, room) {
  for (let side = LONG_SIDE; side >= SHORTEST_LONG_SIDE; side /= 2) {
    const context = draw(bitmap, side);
    if (context === null) return "unreadable";
    for (const { type, quality, mostCharacters } of encodings) {
      if (type === "image/jpeg") fillBehind(context);
      const data = context.canvas.toDataURL(type, quality);
      if (data.length <= Math.min(mostCharacters, room)) return { type, size: bytesOf(data), data };
    }
  }
  return "too-large";
}

/**
 * @param {ImageBitmap} bitmap
 * @param {number} side the longer side at most
 * @returns {CanvasRenderingContext2D | null} null without memory for it
 */
function draw(bitmap, side) {
  const scale = Math.min(1, side / Math.max(bitmap.width, bitmap.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  const context = canvas.getContext("2d");
  if (context === null) return null;
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return context;
}

/** JPEG has no transparency, and would show black. @param {CanvasRenderingContext2D} context */
function fillBehind(context) {
  context.globalCompositeOperation = "destination-over";
  context.fillStyle = "white";
  context.fillRect(0, 0, context.canvas.width, context.canvas.height);
}

/** What tells that a PNG is animated stands before its pixels, behind little else: so many bytes. */
const HEAD = 100_000;

/**
 * Whether a picture has more than one frame, in the formats that browsers show.
 * @param {Uint8Array} bytes
 */
export function isAnimated(bytes) {
  const head = new TextDecoder("latin1").decode(bytes.subarray(0, HEAD));
  if (head.startsWith("GIF8")) return hasFrames(bytes);
  if (head.startsWith("PNG", 1)) return head.split("IDAT", 1)[0].includes("acTL");
  if (head.startsWith("WEBPVP8X", 8)) return (bytes[20] & 2) !== 0;
  return head.startsWith("ftypavis", 4);
}

/**
 * Whether a GIF has more than one image. Each is a descriptor, colours, and data in blocks that say their length.
 * @param {Uint8Array} bytes
 */
function hasFrames(bytes) {
  let images = 0;
  for (let at = 13 + coloursAfter(bytes[10]); at < bytes.length; at += 1) {
    if (bytes[at] === 0x2c) {
      images += 1;
      at += 11 + coloursAfter(bytes[at + 9]);
    } else if (bytes[at] === 0x21) at += 2;
    else break;
    while (bytes[at] > 0) at += 1 + bytes[at];
  }
  return images > 1;
}

/** The bytes of the table of colours that follows this flag. @param {number} packed */
function coloursAfter(packed) {
  return (packed & 0x80) === 0 ? 0 : 3 * 2 ** ((packed & 7) + 1);
}

/** @param {string} data a data URL in Base64 */
function bytesOf(data) {
  return Math.floor(((data.length - data.indexOf(",") - 1) * 3) / 4);
}
