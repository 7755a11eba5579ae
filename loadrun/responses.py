"""LoadGen's objects that say where the answers of samples lie."""

from __future__ import annotations

import collections
from collections.abc import Sequence

import mlperf_loadgen as lg
import numpy as np
import numpy.typing as npt

from shm.ring import Response

_set_id = lg.QuerySampleResponse.id.fset
_for_all = collections.deque[None](maxlen=0).extend


def set_ids(objects: list[lg.QuerySampleResponse], ids: list[int]) -> None:
    """Set the id of each object: a quarter quicker than a loop over assignments."""
    _for_all(map(_set_id, objects, ids))


def make_responses(
    ids: Sequence[int], address: int, lengths: Sequence[int]
) -> list[lg.QuerySampleResponse]:
    """Return one object per response id, for answers of `lengths` bytes one behind the other.

    The first lies at `address`, where it must stay until LoadGen has copied it. ValueError where
    ids and lengths are not equally many.
    """
    objects = []
    for response_id, length in zip(ids, lengths, strict=True):
        objects.append(lg.QuerySampleResponse(response_id, address, length))
        address += length
    return objects


class Whole:
    """An answer that came in parts, in memory of its own: see `shm.ring`.

    What one who reads a `Response` looks at: `ids`, `service_ns`, and `rest`, which is 0.
    """

    rest = 0

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.service_ns = 0
        self._parts: list[tuple[list[int], npt.NDArray[np.uint8], list[int]]] = []

    def add(self, part: Response) -> None:
        """Take a part out of its slot, which is free then."""
        self.ids += part.ids
        self.service_ns = part.service_ns
        payload = np.array(part.payload, np.uint8)
        self._parts.append((part.ids, payload, part.lengths))
        part.release()

    def responses(self) -> list[lg.QuerySampleResponse]:
        """Return one object per sample, valid as long as this one is held."""
        return [
            response
            for ids, payload, lengths in self._parts
            for response in make_responses(ids, payload.ctypes.data, lengths)
        ]

    def release(self) -> None:
        """There is no slot any more."""


class SlotResponses:
    """The objects for answers in the slots of rings.

    A slot always lies at the same address, so that its objects are made once and only their ids
    are set: half the cost of making them anew. LoadGen copies them.
    """

    def __init__(self) -> None:
        self._slots: dict[int, tuple[list[int], list[lg.QuerySampleResponse]]] = {}

    def __call__(self, response: Response | Whole) -> list[lg.QuerySampleResponse]:
        """Return one object per sample, pointing into the payload (valid until it is released)."""
        if isinstance(response, Whole):
            return response.responses()
        ids, lengths = response.ids, response.lengths
        slot = self._slots.get(response.address)
        if slot is None or slot[0][: len(ids)] != lengths:
            made = make_responses(ids, response.address, lengths)
            self._slots[response.address] = (lengths, made)
            return made
        objects = slot[1] if len(slot[1]) == len(ids) else slot[1][: len(ids)]
        set_ids(objects, ids)
        return objects
