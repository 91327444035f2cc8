"""In which encoding a text file is, told by its bytes with the browser's own decoders."""

import pytest
from playwright.async_api import Page
from tests.browser.modules import run_module
from tests.rows import rows

pytestmark = pytest.mark.anyio

JAPANESE = [
    "こんにちは、世界。\nこれはテストです。",
    "第一章　吾輩は猫である。名前はまだ無い。",
    "ID,名前\n1,山田さくら\n",
    "これはtestです",
    "Aさん、Bさん",
    "カタカナ",
    "ｱｲｳｴｵ ｶ)ﾔﾏﾀﾞ",
    "ﾄｳｷｮｳ",
    "ﾃﾚﾋﾞ放送",
]
NO_KANA = ["東京,100\n大阪,200\n", "5月3日", "見積書", "株式会社ABC", "①②③", "→ 髙橋"]
"""EUC-JP needs kana to be told from Chinese and Korean; Shift_JIS does not."""
MAILED = ["今日は会議があります。\n", "Subject: 議事録\r\n\r\nPython 3 の件です。", "東京"]
"""ASCII with escapes, as in mail; without one it is UTF-8."""
WESTERN = [
    "don’t",
    "“Hello,” she said — it’s “fine”…",
    "café",
    "élan",
    "ça",
    "år",
    "créée",
    "„Größe“ und Übergrößenträger, Mädchen, Straße",
    "L’été à la plage, déjà vu ; Noël",
    "Español: mañana, señor, ¿qué?",
    "Ação, coração, não",
    "Ångström, smörgåsbord, blåbær",
    "10 €",
    "© 2020",
    "½ cup at 25 °C",
    "ÄÖÜ ÉÈ",
    "ÄÖÜäöüß",
    "ÉÈ",
    "«ÉÈ»",
    "“ÀÉ” – ÇÈ",
    "NAÏVE ÉÀ",
]
UNREAD = [
    ("привет, мир", "cp1251"),
    ("Это обычный русский текст.", "koi8-r"),
    ("你好，世界。这是一个测试文件。", "gbk"),
    ("你好，世界。這是測試。", "big5"),
    ("안녕하세요 세계", "euc-kr"),
    ("氏名,年齢\n山田太郎,30\n", "euc_jp"),
    ("Καλημέρα κόσμε", "iso8859_7"),
]
BINARY = [
    b"\x89PNG\r\n\x1a\n",
    b"\xff\xd8\xff\xe0\x00\x10JFIF",
    b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n",
    b"\x1f\x8b\x08\xff",
    "これは途中で切れています".encode()[:-1],
    "Le café déjà".encode() + b"\xff",
    b"a\x00b",
    b"names\x00between\x00zeros\x00",
    bytes.fromhex("0100020003000400"),
    bytes.fromhex("ffffffff0a00"),
    b"RIFF\x24\x08\x00\x00WAVEfmt \x10\x00\x00\x00",
]
"""And texts in UTF-8 that are not whole: in another encoding they would be nonsense."""


def cases() -> list[tuple[str, str, bytes]]:
    found = [("Shift_JIS", text, text.encode("cp932")) for text in JAPANESE + NO_KANA]
    found += [("EUC-JP", text, text.encode("euc_jp")) for text in JAPANESE]
    found += [("ISO-2022-JP", text, text.encode("iso2022_jp")) for text in MAILED]
    found += [("UTF-8", text, text.encode()) for text in JAPANESE + NO_KANA + WESTERN]
    found += [("UTF-16LE", text, b"\xff\xfe" + text.encode("utf-16-le")) for text in JAPANESE]
    for encoding in ("UTF-16LE", "UTF-16BE"):
        # A byte-order mark is not needed where a line ends.
        lines = [f"{text}\r\n" for text in JAPANESE + NO_KANA + WESTERN]
        found += [(encoding, text, text.encode(encoding)) for text in lines]
    return found + [("Windows-1252", text, text.encode("cp1252")) for text in WESTERN]


DECODE = "return m.decodeText(Uint8Array.from(arg))"


@rows(("encoding", "text", "data"), cases())
async def test_the_encoding_is_found(library: Page, encoding: str, text: str, data: bytes) -> None:
    found = await run_module(library, "attachments/text.js", DECODE, list(data))
    assert found == {"encoding": encoding, "text": text}


@rows("data", [text.encode(encoding) for text, encoding in UNREAD] + BINARY)
async def test_what_cannot_be_told_is_refused(library: Page, data: bytes) -> None:
    assert await run_module(library, "attachments/text.js", DECODE, list(data)) is None
