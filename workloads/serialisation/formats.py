"""Messages, and the formats in which they become bytes and are read."""

from __future__ import annotations

import hashlib
import importlib
import json
import operator
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from trouble import MissingError

FORMATS: Final = ("none", "json", "ujson", "msgpack", "protobuf", "grpc")
FIRST: Final = 1_000_000_000  # so that a sequence has ten digits, and every message the same size
SEQUENCE: Final = struct.Struct(">Q")  # how a blob begins
GRPC_PACKAGE: Final = "the Debian package python3-grpcio"


def message_of(size: int) -> dict[str, Any]:
    """Return the message whose compact JSON has ``size`` bytes; the note pads what records leave.

    Values are multiples of an eighth: every format and library writes them exactly.
    """
    message: dict[str, Any] = {"sequence": FIRST, "note": "", "records": []}
    left = size - len(json.dumps(message, separators=(",", ":")))
    while True:
        number = len(message["records"])
        record = {
            "id": number,
            "name": f"record {number * 2654435761 % 2**32:08x}",
            "value": number * 7919 % 99991 / 8,
            "flag": number % 3 == 0,
            "tags": ["red", "green", "blue", "black"][: number % 4 + 1],
        }
        left -= len(json.dumps(record, separators=(",", ":"))) + (number > 0)
        if left < 0:
            break
        message["records"].append(record)
    message["note"] = "x" * (size - len(json.dumps(message, separators=(",", ":"))))
    return message


def blob_of(size: int) -> bytearray:
    """Return ``size`` bytes without a pattern, always the same."""
    return bytearray(hashlib.shake_128(b"socklab").digest(size))


def set_item(message: Any, number: int) -> None:
    """Give a message of dicts its sequence."""
    message["sequence"] = number


def set_attribute(message: Any, number: int) -> None:
    """Give a message of protobuf's its sequence."""
    message.sequence = number


@dataclass(frozen=True, slots=True)
class Format:
    """How a message is made, becomes bytes and is read. What can be prepared once, is."""

    name: str
    make: Callable[[int], Any]
    encode: Callable[[Any], Any]
    decode: Callable[[bytes], Any]
    stamp: Callable[[Any, int], None] = set_item
    sequence_of: Callable[[Any], int] = operator.itemgetter("sequence")

    def applies(self, mode: str) -> bool:
        """Whether a cell of this mode can be measured."""
        # gRPC encodes with protobuf, which has these cells.
        return mode == "exchange" or self.name not in ("none", "grpc")


def library(name: str, allow: str) -> Any:
    """Return a module; ``MissingError`` says what would bring it."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingError(f"import {name}", str(error), type(error).__name__, allow) from None


def format_named(name: str) -> Format:
    """Return a format, with its library loaded."""
    if name == "none":
        return Format(
            name, blob_of, lambda blob: blob, lambda blob: blob,
            lambda blob, number: SEQUENCE.pack_into(blob, 0, number),
            lambda blob: int(SEQUENCE.unpack_from(blob)[0]),
        )  # fmt: skip
    if name == "json":
        text_of = json.JSONEncoder(separators=(",", ":")).encode
        return Format(name, message_of, lambda message: text_of(message).encode(), json.loads)
    if name == "ujson":
        ujson = library("ujson", "the Debian package python3-ujson")
        return Format(name, message_of, lambda message: ujson.dumps(message).encode(), ujson.loads)
    if name == "msgpack":
        msgpack = library("msgpack", "the Debian package python3-msgpack")
        return Format(name, message_of, msgpack.Packer().pack, msgpack.unpackb)
    if name == "grpc":
        library("grpc", GRPC_PACKAGE)
    library("google.protobuf", "the Debian package python3-protobuf")
    made = "what protoc --python_out makes of messages.proto, beside the program or in PYTHONPATH"
    kind = library("messages_pb2", made).Message
    return Format(
        name, lambda size: kind(**message_of(size)), kind.SerializeToString, kind.FromString,
        set_attribute, operator.attrgetter("sequence"),
    )  # fmt: skip
