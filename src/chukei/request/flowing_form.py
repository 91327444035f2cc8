"""A multipart form whose parts flow: read as its bytes arrive, and written anew under the relay's own boundary. Pure.

See ``form`` for why a form whose content matters is never passed on with the client's framing.
"""

from typing import TYPE_CHECKING, Any, NamedTuple

from chukei.request import form

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks


class Begin(NamedTuple):
    """The head of a part."""

    part: form.Part


class Data(NamedTuple):
    """Bytes of the value of the part that has begun."""

    data: bytes


class Ended(NamedTuple):
    """The end of a part, or of the ``whole`` form."""

    whole: bool = False


Event = Begin | Data | Ended


class FormReader:
    """Reads a form of this content type. The bytes behind the form's end are ignored.

    Raises:
        CallerError: 400, the content type names no boundary.
    """

    def __init__(self, content_type: bytes) -> None:
        from python_multipart.multipart import MultipartParser  # only forms need it

        self._parser: Any = MultipartParser(
            form.boundary_of(content_type),
            self._callbacks(),
            max_header_count=form.MAX_HEAD_FIELDS,
            max_header_size=form.MAX_HEAD_FIELD,
        )
        self._parser.logger = form.SILENT
        self._events: list[Event] = []
        self._fields: dict[bytes, bytes] = {}
        self._field = self._value = b""
        self._parts = 0
        self._complete = False

    def feed(self, data: bytes) -> list[Event]:
        """Return what these bytes contain.

        Raises:
            CallerError: 400, it is no valid form.
        """
        from python_multipart.exceptions import FormParserError

        if not self._complete:
            try:
                self._parser.write(data)
            except form.Complete:
                self._complete = True
            except FormParserError:
                raise form.invalid("a boundary or a part's head cannot be read") from None
        events, self._events = self._events, []
        return events

    def end(self) -> None:
        """Note that no bytes follow.

        Raises:
            CallerError: 400, the form is not complete.
        """
        if not self._complete:
            raise form.invalid("it ends inside a part")

    def _callbacks(self) -> "MultipartCallbacks":
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._take_field,
            "on_header_value": self._take_value,
            "on_header_end": self._end_field,
            "on_headers_finished": self._end_head,
            "on_part_data": self._take_data,
            "on_part_end": self._end_part,
            "on_end": self._finish,
        }

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > form.MAX_PARTS:
            raise form.invalid(f"it has more than {form.MAX_PARTS} parts")
        self._fields = {}

    def _take_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _take_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_field(self) -> None:
        form.take_field(self._fields, self._field.lower(), self._value)
        self._field = self._value = b""

    def _end_head(self) -> None:
        self._events.append(Begin(form.part_of(self._fields)))

    def _take_data(self, data: bytes, start: int, end: int) -> None:
        if end > start:
            self._events.append(Data(data[start:end]))

    def _end_part(self) -> None:
        self._events.append(Ended())

    def _finish(self) -> None:
        self._events.append(Ended(whole=True))
        raise form.Complete


class FormWriter:
    """Writes a form's events. The boundary cannot be foreseen, so no value contains it."""

    def __init__(self) -> None:
        self._boundary = form.unforeseen_boundary()
        self.content_type = b"multipart/form-data; boundary=" + self._boundary

    def write(self, event: Event) -> bytes:
        """Return the bytes of an event."""
        if isinstance(event, Begin):
            return b"--" + self._boundary + form.head_of(event.part)
        if isinstance(event, Data):
            return event.data
        return b"--" + self._boundary + b"--\r\n" if event.whole else b"\r\n"
