"""Keeps the records that fit into memory: a sample by hash that their order does not change."""

import sys
from dataclasses import dataclass, field

from bench.rows import Record
from bench.streams import fraction_of

KEPT_BYTES = 48 * 2**20  # of text in memory; beyond it, a sample of the groups
RECORD_BYTES = 800  # of a record beside its text


@dataclass
class Kept:
    """Records in at most `limit` bytes: all of them, or those of a share of the groups.

    A group stays while the hash of its name lies below the share, and the share is halved
    whenever what stays outgrows the limit. As no prefix of the data is larger than the whole,
    what is left at the end does not depend on the order of the records.
    """

    limit: int = KEPT_BYTES
    share: float = 1.0
    seen: int = 0
    size: int = 0
    records: list[Record] = field(default_factory=list)

    def add(self, record: Record) -> None:
        """Takes a record or leaves it."""
        self.seen += 1
        if not self._stays(record):
            return
        self.records.append(record)
        self.size += size_of(record)
        while self.size > self.limit:
            self.share /= 2
            self.records = [r for r in self.records if self._stays(r)]
            self.size = sum(map(size_of, self.records))

    def _stays(self, record: Record) -> bool:
        return self.share == 1.0 or fraction_of("kept", record.group) < self.share


def size_of(record: Record) -> int:
    """Bytes that a record takes in memory, about."""
    return RECORD_BYTES + sum(map(sys.getsizeof, (record.input, *record.references)))
