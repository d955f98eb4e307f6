"""Everybody's seconds without what is dismissed as noise, in step, `lag_s` later (GROUP, section 4.2)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.denoise import DEFAULT_TRANSIENTS, Cleaned, Dismissal, Transients, TransientSettings
from pipeline.emotions import F64


@dataclass(frozen=True, slots=True, eq=False)
class CleanSecond:
    """A second as it looks afterwards: (7,) of every member of that second, None for absence; and what was dismissed."""

    second: int
    distributions: Mapping[str, F64 | None]
    dismissals: tuple[Dismissal, ...]


class Cleaner:
    """Cleans the seconds of all members, who come and go.

    Who has left is absent at first, so that somebody who comes back soon is judged by what was before.

    Args:
        settings: Constants of algorithm 5.
        memory_s: After so many seconds out of the call somebody is forgotten.
    """

    def __init__(self, settings: TransientSettings = DEFAULT_TRANSIENTS, memory_s: int = 60) -> None:
        self._settings = settings
        self._memory_s = memory_s
        self._transients = Transients(settings)
        self._last: dict[str, int] = {}
        self._waiting: dict[int, dict[str, F64 | None]] = {}

    def knows(self, participant: str) -> bool:
        """Whether somebody is in the call, or has left it not long ago."""
        return participant in self._last

    def add(self, second: int, distributions: Mapping[str, F64 | None]) -> list[CleanSecond]:
        """Takes everybody's second and returns those that are decided now, oldest first.

        Args:
            second: Later than the one before.
            distributions: Of everybody who is in the call; None where nothing was read.
        """
        self._waiting[second] = dict(distributions)
        self._last.update(dict.fromkeys(distributions, second))
        for participant in [p for p, last in self._last.items() if second - last > self._memory_s]:
            del self._last[participant]
            self._transients.forget(participant)
        cleaned = self._transients.add(
            second, {participant: distributions.get(participant) for participant in self._last}
        )
        return self._out(cleaned, second - self._settings.lag_s)

    def finish(self) -> list[CleanSecond]:
        """The seconds that were still waiting, when the call is over."""
        return self._out(self._transients.finish(), max(self._waiting, default=0))

    def _out(self, cleaned: Sequence[tuple[str, Cleaned]], until: int) -> list[CleanSecond]:
        """Takes the seconds up to `until` out, as they look now."""
        dismissals: dict[int, list[Dismissal]] = {}
        for participant, one in cleaned:
            if participant in self._waiting[one.second]:
                self._waiting[one.second][participant] = one.probabilities
            if one.dismissal is not None:
                dismissals.setdefault(one.second, []).append(one.dismissal)
        out = []
        for second in [second for second in self._waiting if second <= until]:
            told = sorted(dismissals.get(second, ()), key=lambda dismissal: dismissal.participant)
            out.append(CleanSecond(second, self._waiting.pop(second), tuple(told)))
        return out
