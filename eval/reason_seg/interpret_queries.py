"""Ask a vision-language model what each ReasonSeg question means; writes the interpreted queries that are evaluated.

Any server with OpenAI's chat interface will do, for instance a local LLaVA:

python -m eval.reason_seg.interpret_queries --dataset_dir ./eval/datasets --val_dataset "ReasonSeg|val" \\
    --endpoint http://localhost:8000/v1 --model llava-v1.5-7b --out ./eval/datasets/reason_seg/interpreted/val
"""

from __future__ import annotations

import argparse
import base64
import http.client
import json
import logging
import os
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tqdm import tqdm

from eval.reason_seg.annotations import read_annotation
from eval.reason_seg.files import pictures_in, split_folder, split_name
from textregion import UserError
from textregion.cli import Parser, run
from utils.results import write_text

logger = logging.getLogger(__name__)

PROMPT = (
    "Look at the picture and read this request: {question}\n"
    "Which object or objects in the picture does it mean? Answer with their name alone, in a few words."
)
_ATTEMPTS = 3
_RETRIED = (429, 500, 502, 503, 504)


def _parse() -> argparse.Namespace:
    parser = Parser(prog="python -m eval.reason_seg.interpret_queries", description=__doc__)
    parser.add_argument("--dataset_dir", type=Path, required=True, metavar="DIR", help="folder that holds reason_seg/")
    parser.add_argument("--val_dataset", default="ReasonSeg|test", metavar="ReasonSeg|SPLIT", help="test, val or train")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write <name>.json into")
    parser.add_argument("--endpoint", required=True, metavar="URL", help="address up to and with /v1")
    parser.add_argument("--model", required=True, metavar="NAME", help="the model's name on that server")
    parser.add_argument(
        "--api-key-env", metavar="NAME", help="environment variable that holds the key, if one is asked"
    )
    parser.add_argument(
        "--timeout", type=float, default=120.0, metavar="S", help="seconds for one answer (default 120)"
    )
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N pictures")
    return parser.parse_args()


class ChatClient:
    """Asks one question about one picture.

    Args:
        endpoint: address up to and with ``/v1``.
        model: its name there.
        api_key: sent as a bearer token, if given.
        timeout: seconds for one answer.
        pause: seconds before the second attempt, doubled before the third.
    """

    def __init__(
        self, endpoint: str, model: str, api_key: str | None = None, timeout: float = 120.0, pause: float = 2.0
    ) -> None:
        if urlsplit(endpoint).scheme not in ("http", "https") or not urlsplit(endpoint).netloc:
            raise UserError(f"--endpoint must be an address such as http://localhost:8000/v1, but got {endpoint!r}.")
        self._url = endpoint.rstrip("/") + "/chat/completions"
        self._model, self._api_key, self._timeout, self._pause = model, api_key, timeout, pause

    def ask(self, picture: Path, question: str) -> str:
        """The answer, on one line.

        Raises:
            UserError: a server that cannot be reached, refuses, or answers nothing.
        """
        image = base64.b64encode(picture.read_bytes()).decode()
        content = [
            {"type": "text", "text": PROMPT.format(question=question)},
            {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{image}"}},
        ]
        body = {
            "model": self._model,
            "messages": [{"role": "user", "content": content}],
            "temperature": 0,
            "max_tokens": 64,
        }
        reply = self._post(json.dumps(body).encode())
        try:
            answer = " ".join(str(reply["choices"][0]["message"]["content"] or "").split()).strip(" .\"'")
        except (KeyError, IndexError, TypeError):
            raise UserError(
                f"The server at {self._url!r} did not answer in OpenAI's chat form: {reply!r:.200}"
            ) from None
        if not answer:
            raise UserError(f"The model {self._model!r} gave an empty answer about {picture.name!r}: start again.")
        return answer

    def _post(self, body: bytes) -> Any:
        headers = {"Content-Type": "application/json"}
        if self._api_key:
            headers["Authorization"] = f"Bearer {self._api_key}"
        for attempt in range(_ATTEMPTS):
            request = urllib.request.Request(self._url, body, headers)
            try:
                with urllib.request.urlopen(request, timeout=self._timeout) as response:
                    return json.load(response)
            except urllib.error.HTTPError as error:
                reason = f"status {error.code}: {error.read(200).decode(errors='replace')}"
                if error.code not in _RETRIED:
                    break
            except (OSError, http.client.HTTPException) as error:
                reason = str(error) or type(error).__name__
            except ValueError:
                reason = "its answer is not JSON"
                break
            if attempt + 1 < _ATTEMPTS:
                time.sleep(self._pause * 2**attempt)
        raise UserError(f"The server at {self._url!r} did not answer ({reason}): check --endpoint and --model.")


def interpret(folder: Path, out: Path, client: ChatClient, limit: int | None = None) -> tuple[int, int]:
    """Write ``<out>/<name>.json`` for every picture that has none yet and whose annotation can be read.

    Returns:
        How many were asked, and how many were there already.
    """
    pictures = pictures_in(folder)[:limit]
    todo = [path for path in pictures if not (out / f"{path.stem}.json").is_file()]
    odd = 0
    for picture in tqdm(todo, unit="question", disable=None):
        try:
            annotation = read_annotation(picture.with_suffix(".json"))
        except UserError as error:
            logger.warning("%s It is left out.", error)
            odd += 1
            continue
        interpreted = {
            "answers": [client.ask(picture, annotation.text)],
            "text": [annotation.text],
            "is_sentence": annotation.is_sentence,
        }
        write_text(out / f"{picture.stem}.json", json.dumps(interpreted, ensure_ascii=False))
    return len(todo) - odd, len(pictures) - len(todo)


def main() -> int:
    args = _parse()
    if args.limit is not None and args.limit < 1:
        raise UserError(f"--limit must be at least 1, but got {args.limit}.")
    key = os.environ.get(args.api_key_env) if args.api_key_env else None
    if args.api_key_env and not key:
        raise UserError(f"--api-key-env names {args.api_key_env!r}, but no such environment variable is set.")
    folder = split_folder(args.dataset_dir, split_name(args.val_dataset))
    asked, skipped = interpret(folder, args.out, ChatClient(args.endpoint, args.model, key, args.timeout), args.limit)
    print(f"{asked} questions interpreted, {skipped} were there already: {args.out}")
    return 0


if __name__ == "__main__":
    run(main)
