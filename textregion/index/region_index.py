"""An index of regions over folders of pictures: each is encoded once, and any words can be asked later."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ..errors import UserError
from ..files import cannot_write
from ..region_masks import RegionMasks
from ..regions import RegionTokens
from .ann import Approximate
from .compacting import Compaction, compact
from .files import is_below
from .growing import Growing, Growth, Progress
from .hits import LEAST_CANDIDATES, Hit, Hits, best_of_pictures, best_regions
from .part import MOST_PICTURES
from .question import Question
from .relevance import Relevance, together
from .settings import FILE, IndexSettings
from .store import Busy, Store
from .table import Bools, Floats, Table
from .upkeep import Check, Status, check

if TYPE_CHECKING:
    from typing import Self

    from ..segmenter import TextRegionSegmenter  # takes seconds to import, which who only looks need not wait for
    from ..text import TextBank

AnyPath = str | os.PathLike[str]
CANDIDATES_EACH = 10
"""Regions that the approximate index is asked for, for each answer: several may be of one picture."""
MANY_PARTS = 8
"""Fewer are never worth joining without being asked."""


class RegionIndex:
    """A folder of encoded pictures; see :meth:`create` and :meth:`open`.

    Args:
        store: the folder.
        segmenter: encodes pictures and words; a function that gives one is called when it is needed.
        text: gives what encodes words, where that is not to be the segmenter's.
    """

    def __init__(
        self,
        store: Store,
        segmenter: TextRegionSegmenter | Callable[[], TextRegionSegmenter] | None = None,
        text: Callable[[], TextBank] | None = None,
    ) -> None:
        self._store, self._given, self._given_text = store, segmenter, text
        self._table = Table(store.load())
        self._rating: tuple[Table, Relevance] | None = None
        self._lance: tuple[Table, Approximate] | None = None
        if segmenter is not None and not callable(segmenter):
            self._check(segmenter)

    @classmethod
    def create(cls, path: AnyPath, segmenter: TextRegionSegmenter, models: Mapping[str, Any] | None = None) -> Self:
        """A new index in a folder that is not there, or empty.

        Args:
            path: the folder.
            segmenter: whose models and options the index is bound to.
            models: names that the command can load the models by again.

        Raises:
            UserError: the folder holds something, or cannot be written to.
        """
        folder = Path(path)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if any(name for name in os.listdir(folder) if not name.endswith(".tmp")):
                what = "an index already: open it" if (folder / FILE).exists() else "other files: name a new folder"
                raise UserError(f"Folder {str(folder)!r} holds {what}.")
            (folder / "parts").mkdir(exist_ok=True)
        except OSError as error:
            raise cannot_write(folder, error) from None
        IndexSettings.of(segmenter, models).write(folder)
        return cls(Store(folder), segmenter)

    @classmethod
    def open(
        cls,
        path: AnyPath,
        segmenter: TextRegionSegmenter | Callable[[], TextRegionSegmenter] | None = None,
        *,
        text: Callable[[], TextBank] | None = None,
        repair: bool = False,
    ) -> Self:
        """An index that is there.

        Args:
            path: its folder.
            segmenter: encodes pictures and words, with the models and options that the index was made with; or a
                function that gives one when it is needed; None: neither is asked for.
            text: gives the word embeddings of the index's encoder, for who only searches.
            repair: leave damaged parts out instead of refusing the whole.

        Raises:
            UserError: no index, a damaged one, or one of other models or options.
        """
        return cls(Store(Path(path), repair), segmenter, text)

    @property
    def folder(self) -> Path:
        """Where it is."""
        return self._store.folder

    @property
    def settings(self) -> IndexSettings:
        """Models and options that it is bound to."""
        return self._store.settings

    @property
    def pictures(self) -> list[str]:
        """Absolute paths of all pictures, sorted."""
        return sorted(self._table.catalogue.live)

    @property
    def region_count(self) -> int:
        """How many regions all pictures have."""
        return self._table.catalogue.regions

    def __len__(self) -> int:
        """How many pictures there are."""
        return len(self._table.catalogue.live)

    def refresh(self) -> None:
        """Take in what other processes have written since."""
        self._table = Table(self._store.load())

    def add(
        self, paths: Sequence[AnyPath] | AnyPath, *, exclude: Sequence[str] = (), progress: Progress | None = None
    ) -> Growth:
        """Make the index hold the pictures of files, folders and globs as they are now.

        What is there already is not encoded again, nor is what only moved; what was deleted leaves. Pictures below a
        folder that is not there (a disk that is not mounted) or that is excluded stay.

        Args:
            paths: a path, or several.
            exclude: globs of files and folders to pass over.
            progress: told how many of how many new files were looked at.

        Raises:
            UserError: a path that is not there, paths without any picture, a file that cannot be written.
        """
        named = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
        try:
            return Growing(self._store, self._encode, progress).run(named, exclude)
        finally:
            self.refresh()

    def compact(self) -> Compaction:
        """Join small parts, and drop the rows of pictures that are gone.

        Raises:
            UserError: another process is writing, or a file cannot be written.
        """
        try:
            return compact(self._store)
        finally:
            self.refresh()

    def search(
        self,
        asked: str | Tensor | Sequence[str | Tensor],
        *,
        k: int = 24,
        minus: str | Sequence[str] = (),
        within: AnyPath | Sequence[AnyPath] = (),
        per_region: bool = False,
        but: Sequence[Hit] = (),
        approximate: bool = False,
    ) -> Hits:
        """The regions that fit words, a token, or several of them together.

        Args:
            asked: a text, a token (D,) such as :attr:`Hit.token`, or a list of texts and tokens.
            k: how many answers.
            minus: words that are not wanted.
            within: a folder, or several, below which the pictures lie; none: anywhere.
            per_region: all regions of a picture, those that lie in one another as one; else the best of each picture.
            but: regions that are no answers: with ``per_region`` these, else their pictures.
            approximate: ask a Lance table, which is made first where it is not of the index as it is now: for many
                millions of regions. Needs lancedb; without effect where ``within`` is given.

        Returns:
            Hits by falling score. Files of the same bytes answer once.

        Raises:
            UserError: nothing to look for, words without a segmenter, a folder without pictures of the index.
        """
        if k < 1:
            raise UserError(f"The number of answers must be at least 1, but got {k}.")
        question = Question.of(asked, minus)
        table, eligible = self._table, self._eligible(within)
        if not eligible.any():
            return Hits([])
        vector = question.vector(self.encode_words, table.mean.shape[0], table.mean)
        quick = approximate and not within
        scores = self._approximate(vector, k) if quick else table.scan(vector)
        if per_region:
            hits = best_regions(table, vector, scores, eligible, k, but)
        else:
            hits = best_of_pictures(table, vector, scores, self._without(eligible, but), k)
        if question.tokens or not hits:
            return Hits(hits)
        if quick:
            return self._rated(hits, question.words, lambda word: (table.sample @ word).numpy())
        scanned = scores if question.is_one_word else None
        return self._rated(
            hits, question.words, lambda word: (table.scan(word) if scanned is None else scanned)[table.alive_regions]
        )

    def _approximate(self, vector: Tensor, k: int) -> Floats:
        """(N,) products of the regions that the Lance table gives, -inf of all others."""
        if self._lance is None or self._lance[0] is not self._table:
            self._lance = self._table, Approximate(self._store.cache / "lance", self._table)
        count = max(LEAST_CANDIDATES, CANDIDATES_EACH * k)
        return self._table.at(vector, self._lance[1].candidates(vector, self._table.alive, count))

    def _rated(self, hits: Sequence[Hit], words: Sequence[str], scores_of: Callable[[Tensor], Floats]) -> Hits:
        """Hits with their relevance for words, from the scores of many regions for each."""
        tokens = torch.stack([hit.token for hit in hits])
        embeddings = self.encode_words(words).detach().float().cpu()
        by_word = [self._relevance.rate(word, scores_of(word), tokens) for word in embeddings]
        return Hits(replace(hit, relevance=value) for hit, value in zip(hits, together(by_word)))

    def regions(self, picture: AnyPath) -> list[Hit]:
        """All regions of a picture, as hits without a score.

        Raises:
            UserError: the picture is not in the index.
        """
        path = os.path.abspath(picture)
        entry = self._table.catalogue.live.get(path)
        if entry is None:
            raise UserError(f"Picture {os.fspath(picture)!r} is not in the index {str(self.folder)!r}: add it first.")
        return [Hit(entry, region) for region in range(entry.facts.regions)]

    def region_at(self, picture: AnyPath, x: float, y: float) -> Hit:
        """The smallest region of a picture that a pixel lies in.

        Raises:
            UserError: the picture is not in the index, the pixel is outside of it or in no region.
        """
        regions = self.regions(picture)
        height, width = self._table.catalogue.live[os.path.abspath(picture)].facts.size_hw
        if not (0 <= x < width and 0 <= y < height):
            raise UserError(f"Pixel {x:g},{y:g} is outside of picture {os.fspath(picture)!r} ({width} x {height}).")
        for region in sorted(regions, key=lambda region: region.area):
            if region.mask()[int(y), int(x)]:
                return region
        raise UserError(f"There is no region at {x:g},{y:g} of picture {os.fspath(picture)!r}: name another pixel.")

    def encode_words(self, words: Sequence[str]) -> Tensor:
        """K words through the 80 templates -> (K, D).

        Raises:
            UserError: nothing that encodes words was given, or it is another encoder's.
        """
        return self._text.encode(words)

    @cached_property
    def _text(self) -> TextBank:
        if self._given_text is None:
            return self.segmenter.text
        text = self._given_text()
        if text.encoder_name != self.settings.encoder:
            raise UserError(
                f"Index {str(self.folder)!r} was made otherwise: the encoder is {self.settings.encoder!r} in the index "
                f"and {text.encoder_name!r} now."
            )
        return text

    def _eligible(self, within: AnyPath | Sequence[AnyPath]) -> Bools:
        """(P,) the pictures that may be answers."""
        folders = [within] if isinstance(within, (str, os.PathLike)) else list(within)
        if not folders:
            return self._table.alive
        roots = [os.path.abspath(folder) for folder in folders]
        eligible = self._table.select(lambda path: any(is_below(path, root) for root in roots))
        if not eligible.any():
            names = ", ".join(repr(os.fspath(folder)) for folder in folders)
            raise UserError(f"The index {str(self.folder)!r} holds no pictures of {names}: check the folder's name.")
        return eligible

    def _without(self, eligible: Bools, but: Sequence[Hit]) -> Bools:
        """Without the pictures of some hits, and files of the same bytes."""
        contents = {hit.entry.facts.sha256 for hit in but}
        if not contents:
            return eligible
        same = [entry.facts.sha256 in contents for entry in self._table.entries]
        return eligible & ~np.array(same, bool)

    def forget(self, paths: Sequence[AnyPath] | AnyPath) -> list[str]:
        """Take pictures out, whether their files are there or not.

        Args:
            paths: pictures, or folders with all below them.

        Returns:
            Their paths.

        Raises:
            UserError: nothing of the index is there, or a file cannot be written.
        """
        named = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
        roots = [os.path.abspath(path) for path in named]
        with self._store.writing():
            catalogue = self._store.load()
            taken = [path for path in catalogue.live if any(is_below(path, root) for root in roots)]
            if not taken:
                names = ", ".join(repr(os.fspath(path)) for path in named)
                raise UserError(f"The index {str(self.folder)!r} holds no pictures of {names}: check the name.")
            self._store.bury(catalogue.all_of(taken))
        self.refresh()
        return taken

    def tidy(self) -> None:
        """Compact where there are many more parts than needed and nobody else is writing."""
        parts = len(self._table.catalogue.loaded)
        if parts >= MANY_PARTS and parts > 2 * (len(self) // MOST_PICTURES + 1):
            with contextlib.suppress(Busy):
                self.compact()

    def status(self) -> Status:
        """What it holds."""
        return Status.of(self._store, self._table)

    def check(self) -> Check:
        """Read all parts, and measure the recall of the quick search.

        Raises:
            UserError: a damaged part or cache.
        """
        can_read = self._given is not None or self._given_text is not None
        lance = self._store.cache / "lance"
        ann = Approximate(lance, self._table) if lance.exists() else None
        return check(self._store, self._table, self.encode_words if can_read else None, ann)

    @property
    def _relevance(self) -> Relevance:
        if self._rating is None or self._rating[0] is not self._table:
            self._rating = self._table, Relevance.of(self._table, self.encode_words)
        return self._rating[1]

    @cached_property
    def segmenter(self) -> TextRegionSegmenter:
        """What encodes, loaded when it is first asked for.

        Raises:
            UserError: there is none, or it has other models or options than the index.
        """
        if self._given is None:
            raise UserError(f"Index {str(self.folder)!r} was opened without a segmenter: give one to encode with.")
        segmenter = self._given() if callable(self._given) else self._given
        self._check(segmenter)
        return segmenter

    def _check(self, segmenter: TextRegionSegmenter) -> None:
        difference = self.settings.difference(IndexSettings.of(segmenter).identity())
        if difference:
            raise UserError(f"Index {str(self.folder)!r} was made otherwise: {difference}.")

    def _encode(self, path: str) -> RegionTokens:
        """A picture's regions; the whole picture as one where there is none, so that it can be found too."""
        regions = self.segmenter.encode(path)
        if len(regions):
            return regions
        return self.segmenter.encode(path, RegionMasks.from_masks(torch.ones(1, 1, 1), regions.size_hw))
