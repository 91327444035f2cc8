"""The states of a client's connection, as one table."""

from enum import StrEnum


class State(StrEnum):
    """The state of a connection."""

    NEW = "new"
    ANSWERING = "answering"
    IDLE = "idle"
    UPGRADED = "upgraded"
    LINGERING = "lingering"
    CLOSED = "closed"


class Event(StrEnum):
    """An event that changes the state. Both enums are strings, because strings are hashed in C."""

    REQUEST = "the head of the next request in line is complete"
    ANSWERED = "the answer is complete, and the client has taken most of it"
    UPGRADED = "the answer 101 is written: from here on the connection is a WebSocket"
    REFUSED = "a refusal is written, or the last answer before the end of its request's body"
    LOST = "either side closes it, or it breaks"


TRANSITIONS = {
    (State.NEW, Event.REQUEST): State.ANSWERING,
    (State.NEW, Event.REFUSED): State.LINGERING,
    (State.NEW, Event.LOST): State.CLOSED,
    (State.ANSWERING, Event.ANSWERED): State.IDLE,
    (State.ANSWERING, Event.UPGRADED): State.UPGRADED,
    (State.ANSWERING, Event.REFUSED): State.LINGERING,
    (State.ANSWERING, Event.LOST): State.CLOSED,
    (State.IDLE, Event.REQUEST): State.ANSWERING,
    (State.IDLE, Event.REFUSED): State.LINGERING,
    (State.IDLE, Event.LOST): State.CLOSED,
    (State.UPGRADED, Event.LOST): State.CLOSED,
    (State.LINGERING, Event.LOST): State.CLOSED,
}
"""Every transition. A pair that is missing is a defect: KeyError."""
