"""What the page sends, checked: bodies of a bounded size, words that can be looked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from fastapi import HTTPException
from pydantic import BaseModel, Field, ValidationError
from starlette.requests import Request

from ..export import MAX_PALETTE
from ..words import is_word

MOST_JSON_BYTES = 512 * 1024
LONGEST_WORD = 1000
Question = TypeVar("Question", bound=BaseModel)


class Words(BaseModel):
    """Words to ask a picture for."""

    words: list[str] = Field(min_length=1, max_length=MAX_PALETTE)


def check_words(words: Sequence[str]) -> list[str]:
    """The words, each once.

    Raises:
        HTTPException: one that is blank, no text, or very long.
    """
    for word in words:
        if not is_word(word) or len(word) > LONGEST_WORD:
            raise HTTPException(422, f"A word must be text of 1 to {LONGEST_WORD} letters, but one is not.")
    return list(dict.fromkeys(words))


async def body(request: Request, most: int, what: str) -> bytes:
    """The body of a request.

    Raises:
        HTTPException: more than ``most`` bytes; no more than those are read.
    """
    too_large = HTTPException(413, f"{what} may have {most / 2**20:.3g} MiB at most.")
    length = request.headers.get("content-length", "0")
    if length.isdecimal() and int(length) > most:
        raise too_large
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > most:
            raise too_large
    return bytes(content)


async def question(request: Request, kind: type[Question]) -> Question:
    """The JSON body of a request.

    Raises:
        HTTPException: too large, or not of that kind.
    """
    content = await body(request, MOST_JSON_BYTES, "A question")
    try:
        return kind.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise HTTPException(422, f"The question cannot be understood ({where or 'body'}: {first['msg']}).") from None
