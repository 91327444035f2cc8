"""The bytes of frames (RFC 6455 §5.2): where one ends, what is wrong with its head, how a message is written."""

import codecs
import os

from websockets.frames import Opcode

from chukei.ports import Frame

try:
    from websockets.speedups import apply_mask
except ImportError:  # no compiled wheel exists for this platform
    from websockets.utils import apply_mask

__all__ = [
    "CONTROL",
    "MASKED",
    "OPCODE",
    "WHOLE",
    "WHOLE_TEXT",
    "TextCheck",
    "apply_mask",
    "extent",
    "fault_of",
    "is_utf8",
    "written",
]

FINAL, RESERVED, OPCODE, CONTROL = 0x80, 0x70, 0x0F, 0x08
"""Bits of a frame's first byte. An opcode with the bit ``CONTROL`` is one of a control frame."""

MASKED, LENGTH = 0x80, 0x7F
"""Bits of a frame's second byte."""

WHOLE_TEXT = FINAL | Opcode.TEXT
WHOLE = (WHOLE_TEXT, FINAL | Opcode.BINARY)
"""First bytes of frames that are whole messages."""

_LONGEST_SHORT = 125  # a longer payload has its length in further bytes; a control frame may have none
_TWO_BYTES, _EIGHT_BYTES = 126, 127
_OPCODES = frozenset(map(int, Opcode))
_Decoder = codecs.getincrementaldecoder("utf-8")


def extent(data: bytes, at: int) -> tuple[int, int]:
    """Return the offsets of a frame's payload and of its end; both are ``at`` while its length is not known."""
    second = data[at + 1]
    begin, length = at + 2, second & LENGTH
    if length > _LONGEST_SHORT:
        begin += 2 if length == _TWO_BYTES else 8
        if len(data) < begin:
            return at, at
        length = int.from_bytes(data[at + 2 : begin])
    if second & MASKED:
        begin += 4
    return begin, begin + length


def fault_of(first: int, second: int, length: int, masked: int) -> str:
    """Return what is wrong with a frame by its first two bytes and its length; empty if nothing is."""
    if first & RESERVED:
        return "reserved bits must be 0"
    if second & MASKED != masked:
        return "incorrect masking"
    if first & OPCODE not in _OPCODES:
        return "invalid opcode"
    if first & CONTROL and (length > _LONGEST_SHORT or not first & FINAL):
        return "control frame too long or fragmented"
    return ""


def written(opcode: int, data: bytes, masked: int) -> bytes:
    """Return a whole message as one frame, masked by a client with a mask that cannot be predicted (§5.3)."""
    size = len(data)
    if size <= _LONGEST_SHORT:
        head = bytes((FINAL | opcode, masked | size))
    elif size < 1 << 16:
        head = bytes((FINAL | opcode, masked | _TWO_BYTES, size >> 8, size & 0xFF))
    else:
        head = bytes((FINAL | opcode, masked | _EIGHT_BYTES)) + size.to_bytes(8)
    if not masked:
        return head + data
    mask = os.urandom(4)
    return head + mask + apply_mask(data, mask)


def is_utf8(data: bytes) -> bool:
    """Whether a whole text is valid."""
    if data.isascii():
        return True
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


class TextCheck:
    """Checks the text of messages in several frames. Their boundaries may split a character."""

    __slots__ = ("_decoder",)

    def __init__(self) -> None:
        self._decoder: codecs.IncrementalDecoder | None = None

    def accepts(self, frame: Frame) -> bool:
        """Whether the message is valid so far; for a message that is no text, always."""
        if frame.opcode == Opcode.TEXT:
            self._decoder = _Decoder()
        if self._decoder is None:
            return True
        try:
            self._decoder.decode(frame.data, frame.final)
        except UnicodeDecodeError:
            return False
        if frame.final:
            self._decoder = None
        return True
