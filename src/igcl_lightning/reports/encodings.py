"""Encodings of text files: one rule for tables and for reports."""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import IO

from igcl_lightning.errors import IgclError

PLAIN = "utf-8-sig"
ENCODINGS = {"cp1252": "Windows-1252", "utf-16": "UTF-16", "utf-16-le": "UTF-16", "utf-16-be": "UTF-16"}
"""Names, for messages, of the encodings that `encoding_of` finds beside UTF-8."""

_BLOCK = 1 << 20
_NOT_WESTERN = re.compile(rb"[\x81\x8d\x8f\x90\x9d]|[\xc0-\xff]{3}|[\x80-\xff]{4}")
"""Bytes that Windows-1252 lacks, and runs of letters that no language written in it has."""

_NOT_TEXT = re.compile(rb"[\x00-\x08\x0e-\x19\x1c-\x1f]")


def decoded(path: Path, content: bytes) -> tuple[str, str]:
    """Return the text in the bytes of a file, with Unix line ends, and its encoding, "" for UTF-8.

    Raises:
        ValueError: it is no text, or one that could have several encodings.
    """
    try:
        encoding = encoding_of(path, partial(io.BytesIO, content))
    except IgclError:
        encoding = PLAIN  # a zero byte in a report is no reason to refuse it
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError:
        raise ValueError("neither UTF-8 nor surely another encoding; save it as UTF-8") from None
    return text.replace("\r\n", "\n").replace("\r", "\n"), ENCODINGS.get(encoding, "")


def encoding_of(path: Path, content: Callable[[], AbstractContextManager[IO[bytes]]]) -> str:
    """Return the encoding of a text file: UTF-8, UTF-16 or, if it can be nothing else, Windows-1252.

    Args:
        path: path of the file, for messages.
        content: opens its bytes, without what packs them.

    Raises:
        IgclError: the file is no text, or a text that could have several encodings.
    """
    wide = False  # whether it has characters of UTF-8 with several bytes
    decoder = codecs.getincrementaldecoder("utf-8")()
    with content() as file:
        block = file.read(_BLOCK)
        if found := _by_zeros(path, block[:4096]):
            return found
        try:
            while block:
                wide |= not decoder.decode(block).isascii()
                block = file.read(_BLOCK)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError as error:
            wide |= not error.object[: error.start].isascii()
        else:
            return PLAIN
    return _western(path, content, wide)


def _by_zeros(path: Path, head: bytes) -> str | None:
    """Return the form of UTF-16 of a text, by its mark or its zero bytes, None if it has neither."""
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) and not head.startswith(codecs.BOM_UTF32_LE):
        return "utf-16"
    if b"\0" not in head:
        return None
    zeros = {"utf-16-le": head[1::2].count(0), "utf-16-be": head[::2].count(0)}
    if min(zeros.values()) == 0 and max(zeros.values()) > len(head) / 4:
        return max(zeros, key=zeros.__getitem__)
    raise IgclError(f"{path}: not a CSV file (it has zero bytes)")


def _western(path: Path, content: Callable[[], AbstractContextManager[IO[bytes]]], wide: bool) -> str:
    """Return "cp1252" for a text that is not UTF-8; raises `IgclError` if another encoding is as likely."""
    with content() as file:
        before = b""
        while block := file.read(_BLOCK):
            if _NOT_TEXT.search(block):
                raise IgclError(f"{path}: not a CSV file (it is no text)")
            if wide or _NOT_WESTERN.search(before + block):
                why = "mostly UTF-8, but damaged, or of several files" if wide else "neither UTF-8 nor Windows-1252"
                raise IgclError(f"{path}: its encoding is unclear ({why}); name it with --encoding, or save as UTF-8")
            before = block[-3:]
    return "cp1252"
