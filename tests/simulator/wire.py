"""A client that shows exactly what came over the wire: chunks, headers, and how it ended."""

from __future__ import annotations

import asyncio
import json
import ssl
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

CHAT = "/openai/deployments/{}/chat/completions?api-version=2024-10-21"
End = Literal["complete", "cut", "reset", "malformed"]


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    chunks: list[bytes] = field(default_factory=list)
    end: End = "complete"

    @property
    def body(self) -> bytes:
        return b"".join(self.chunks)

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def events(self) -> list[bytes]:
        """The complete events of the body."""
        return [event + b"\n\n" for event in self.body.split(b"\n\n")[:-1]]

    @property
    def chunk_objects(self) -> list[Any]:
        """The JSON of the data events, but for [DONE]."""
        data = [event.partition(b"data: ")[2] for event in self.events]
        return [json.loads(entry) for entry in data if not entry.startswith(b"[DONE]")]

    @property
    def text(self) -> str:
        """What a chat stream said in its first choice."""
        deltas = (
            choice["delta"].get("content") or ""
            for chunk in self.chunk_objects
            for choice in chunk.get("choices", ())
            if choice["index"] == 0 and "delta" in choice
        )
        return "".join(deltas)


class Connection:
    """One connection to a server; requests may follow one another."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def open(cls, url: str, tls: ssl.SSLContext | None = None) -> Connection:
        where = urlsplit(url)
        return cls(*await asyncio.open_connection(where.hostname, where.port, ssl=tls))

    async def close(self) -> None:
        self.writer.close()
        with suppress(ConnectionError, ssl.SSLError):  # it was reset, which some tests want
            await self.writer.wait_closed()

    async def __aenter__(self) -> Connection:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def send(self, method: str, path: str, body: bytes = b"", **headers: str) -> None:
        lines = [f"{method} {path} HTTP/1.1", "host: simulator", f"content-length: {len(body)}"]
        given = {"api-key": "test", "content-type": "application/json"} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        lines += [f"{name}: {value}" for name, value in given.items() if value]
        self.writer.write("\r\n".join((*lines, "", "")).encode("latin-1") + body)

    async def head(self) -> Answer:
        raw = await self.reader.readuntil(b"\r\n\r\n")
        first, *lines = raw.decode("latin-1").strip().split("\r\n")
        pairs = (line.lower().partition(": ") for line in lines)
        return Answer(int(first.split()[1]), {name: value for name, _, value in pairs})

    async def chunk(self) -> bytes | None:
        """The next chunk of a chunked body; None at its proper end."""
        size = int((await self.reader.readuntil(b"\r\n")).strip(), 16)
        data = await self.reader.readexactly(size)
        assert await self.reader.readexactly(2) == b"\r\n"
        return data if size else None

    async def answer(self) -> Answer:
        answer = await self.head()
        try:
            if "content-length" in answer.headers:
                answer.chunks.append(await self.reader.readexactly(int(answer.headers["content-length"])))
            elif "transfer-encoding" in answer.headers:
                while (data := await self.chunk()) is not None:
                    answer.chunks.append(data)
            else:
                answer.chunks.append(await self.reader.read())
        except asyncio.IncompleteReadError:
            answer.end = "cut"
        except ConnectionResetError:
            answer.end = "reset"
        except ValueError:
            answer.end = "malformed"
        return answer


async def post(url: str, path: str, body: Any, **headers: str) -> Answer:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    async with await Connection.open(url) as connection:
        connection.send("POST", path, data, **headers)
        return await connection.answer()


async def get(url: str, path: str, **headers: str) -> Answer:
    async with await Connection.open(url) as connection:
        connection.send("GET", path, b"", **headers)
        return await connection.answer()


def question(text: str = "repeat: one two three", **fields: Any) -> dict[str, Any]:
    """The body of a streaming chat request."""
    return {"messages": [{"role": "user", "content": text}], "stream": True, **fields}


async def ask(url: str, deployment: str = "gpt-4o", text: str = "repeat: one two three", **fields: Any) -> Answer:
    """Stream an answer to a question."""
    return await post(url, CHAT.format(deployment), question(text, **fields))
