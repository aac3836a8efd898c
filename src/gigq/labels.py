"""Tags and metadata: what a caller notes of a job in order to find it again; the queue itself never acts on them."""

from __future__ import annotations

from typing import Any

from gigq import codec
from gigq.errors import InvalidJob, InvalidValue

MAX_TAGS = 32
MAX_TAG = 100
"""Characters."""
MAX_METADATA = 16_000
"""Bytes of JSON."""


def stored(tags: Any, metadata: Any) -> tuple[list[str], str | None]:
    """Both as they are stored; None, and what is empty, is nothing.

    Raises:
        InvalidJob: naming the field.
    """
    listed = [] if tags is None else known_tags(tags)
    text = None if metadata is None else metadata_text(metadata)
    return listed, None if text == "{}" else text


def known_tag(tag: Any, what: str = "tags") -> str:
    """A tag: text of 1 to 100 characters.

    Raises:
        InvalidJob: it is none; ``what`` names the field.
    """
    if not isinstance(tag, str) or not tag or len(tag) > MAX_TAG or "\x00" in tag or not _encodable(tag):
        raise InvalidJob(
            f"{what}: a tag is text of 1 to {MAX_TAG} characters without NUL, not {tag!r:.{MAX_TAG + 20}}"
        )
    return str.__str__(tag)


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def known_tags(tags: Any) -> list[str]:
    """Tags as they are stored: in their order, none twice.

    Raises:
        InvalidJob: it is not a list of tags, or too many.
    """
    if isinstance(tags, str) or not isinstance(tags, list | tuple | set | frozenset):
        raise InvalidJob(f"tags: a list of texts is needed, not {tags!r:.100}")
    known = list(dict.fromkeys(known_tag(tag) for tag in tags))
    if len(known) > MAX_TAGS:
        raise InvalidJob(f"tags: {len(known)} of them; a job has at most {MAX_TAGS}")
    return sorted(known) if isinstance(tags, set | frozenset) else known


def metadata_text(metadata: Any) -> str:
    """Metadata as it is stored: the JSON text of a dict.

    Raises:
        InvalidJob: it is not a dict with text as keys, or takes more than 16,000 bytes.
        InvalidValue: something in it is not JSON; the message names its place.
    """
    if not isinstance(metadata, dict) or not all(isinstance(key, str) for key in metadata):
        raise InvalidJob(f"metadata: a dict with text as keys is needed, not {metadata!r:.100}")
    text = codec.encode(metadata, "metadata", codec.HIGHEST_LIMIT)
    size = len(text.encode())
    if size > MAX_METADATA:
        raise InvalidValue(
            f"metadata: {size:,} bytes of JSON, over the limit of {MAX_METADATA:,}. What the function needs are params."
        )
    return text
