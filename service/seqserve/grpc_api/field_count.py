"""How many fields a message has, those of its submessages among them, counted before it is parsed.

Two bytes make an empty submessage or string, and up to 40 bytes of memory once parsed: a message of 16 MiB
would be a quarter of a gigabyte. A message that is meant has a handful of fields and one for each picture;
long ones are skipped whole.

Source: protobuf's encoding, https://protobuf.dev/programming-guides/encoding/.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from seqserve.errors import InvalidRequest

SHORT_BYTES = 2**16
"""Up to here no count is worth its time: whatever it is parsed to is small."""
MAX_FIELDS = 2**13
"""More than there may be pictures in all requests together, see predictor.py."""
WIDE_BYTES = 2**8
"""So many of numbers that are longer in memory than on the wire count as a field."""
BYTES_OF_A_VALUE = 4
"""In the largest message, which has room for what a model can be asked as FP32."""
_OTHER_BYTES = bytes(range(0x80, 0x100))


def check_field_count(body: bytes, message: Descriptor, max_message_bytes: int) -> None:
    """Raises InvalidRequest for more than MAX_FIELDS, or more numbers in a list than a model could be asked.

    message: what the body is to be; what is no protobuf is left to the parser.
    """
    if len(body) <= SHORT_BYTES:
        return
    count = _Count(body, MAX_FIELDS, max_message_bytes // BYTES_OF_A_VALUE)
    count.take(0, len(body), message)
    if count.left < 0:
        raise InvalidRequest(
            "TOO_MANY_FIELDS", field="message", came=f"more than {MAX_FIELDS} fields",
            accepted=f"at most {MAX_FIELDS} in a message of more than {SHORT_BYTES} bytes",
        )  # fmt: skip


@dataclass(slots=True)
class _Count:
    """left: how many fields there may still be, negative where they were too few. most_values: of a list."""

    body: bytes
    left: int
    most_values: int

    def take(self, at: int, end: int, message: Descriptor) -> None:
        """Count the fields of the message there. Raises InvalidRequest for a list that is too long."""
        submessages, wide, narrow = _submessages(message), _wide_numbers(message), _narrow_numbers(message)
        while at < end and self.left >= 0:
            self.left -= 1
            number, content, at = _field(self.body, at)
            if number in submessages:
                self.take(content, min(at, end), submessages[number])
            elif number in wide:
                self.left -= (min(at, end) - content) // WIDE_BYTES
            elif number in narrow and min(at, end) - content > self.most_values:
                self._check_values(narrow[number], content, min(at, end))

    def _check_values(self, name: str, content: int, end: int) -> None:
        """Each number ends with a byte without the eighth bit."""
        values = len(self.body[content:end].translate(None, _OTHER_BYTES))
        if values > self.most_values:
            raise InvalidRequest(
                "TOO_MANY_VALUES", field=name, came=f"{values} values", accepted=f"at most {self.most_values}"
            )


@cache
def _submessages(message: Descriptor) -> Mapping[int, Descriptor]:
    """Those that a message of its kind may have, by the numbers of their fields."""
    return {field.number: field.message_type for field in message.fields if field.message_type is not None}


@cache
def _wide_numbers(message: Descriptor) -> frozenset[int]:
    """The fields with numbers of 8 bytes each, of which the wire may have 1."""
    wide = {FieldDescriptor.CPPTYPE_INT64, FieldDescriptor.CPPTYPE_UINT64}
    return frozenset(field.number for field in message.fields if field.is_repeated and field.cpp_type in wide)


@cache
def _narrow_numbers(message: Descriptor) -> Mapping[int, str]:
    """The names of the fields with numbers of 4 bytes or a truth value each, of which the wire may have 1."""
    narrow = {FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_UINT32, FieldDescriptor.CPPTYPE_BOOL}
    return {each.number: each.name for each in message.fields if each.is_repeated and each.cpp_type in narrow}


def _field(body: bytes, at: int) -> tuple[int, int, int]:
    """(number, where its content starts, where it ends by its own words) of the field that starts there.

    number: 0 where it has no length. The end lies beyond the body where it is cut off.
    """
    tag, at = _varint(body, at)
    match tag & 7:
        case 0:  # a number
            return 0, at, _varint(body, at)[1]
        case 1:  # 8 bytes
            return 0, at, at + 8
        case 2:  # a length and so many bytes
            length, at = _varint(body, at)
            return tag >> 3, at, at + length
        case 5:  # 4 bytes
            return 0, at, at + 4
    return 0, at, at  # the start or the end of a group, or no protobuf


def _varint(body: bytes, at: int) -> tuple[int, int]:
    """(value, where it ends): 7 bits a byte, the lowest first, until a byte without the eighth bit."""
    value = shift = 0
    for byte in body[at : at + 10]:
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004 - the eighth bit
            break
        shift += 7
    return value, at
