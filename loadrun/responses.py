"""LoadGen's objects that say where the answers of samples lie."""

from __future__ import annotations

import collections
from collections.abc import Sequence

import mlperf_loadgen as lg

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


class SlotResponses:
    """The objects for answers in the slots of rings.

    A slot always lies at the same address, so that its objects are made once and only their ids
    are set: half the cost of making them anew. LoadGen copies them.
    """

    def __init__(self) -> None:
        self._slots: dict[int, tuple[list[int], list[lg.QuerySampleResponse]]] = {}

    def __call__(self, response: Response) -> list[lg.QuerySampleResponse]:
        """Return one object per sample, pointing into the payload (valid until it is released)."""
        ids, lengths = response.ids, response.lengths
        slot = self._slots.get(response.address)
        if slot is None or slot[0][: len(ids)] != lengths:
            made = make_responses(ids, response.address, lengths)
            self._slots[response.address] = (lengths, made)
            return made
        objects = slot[1] if len(slot[1]) == len(ids) else slot[1][: len(ids)]
        set_ids(objects, ids)
        return objects
