"""What is derived from readings once it is known which of them were noise: 3 s later (GROUP, sections 4.2 and 5)."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from pipeline.changes import DEFAULT_CHANGES, ChangeDetectors, ChangeScopes, ChangeSettings
from pipeline.cleaning import Cleaner, CleanSecond
from pipeline.denoise import DEFAULT_TRANSIENTS, TransientSettings, dismissal_event
from pipeline.emotions import F64
from pipeline.engagement import DEFAULT_ENGAGEMENT, Engagement, EngagementSettings
from pipeline.group import DEFAULT_GROUP, GroupSettings, mean_distribution
from pipeline.labelling import DEFAULT_LABELS, Labeller, LabelSettings
from pipeline.types import Event, GroupEngagement, SettledSecond

NOBODY: Mapping[str, F64 | None] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class AfterwardsSettings:
    """Constants of the algorithms that look back.

    memory_s: after so many seconds out of the call somebody is forgotten, and begins anew on coming back.
    """

    memory_s: int = 60
    transients: TransientSettings = DEFAULT_TRANSIENTS
    changes: ChangeSettings = DEFAULT_CHANGES
    engagement: EngagementSettings = DEFAULT_ENGAGEMENT
    labels: LabelSettings = DEFAULT_LABELS
    group: GroupSettings = DEFAULT_GROUP


DEFAULT_AFTERWARDS = AfterwardsSettings()


class Afterwards:
    """Cleaned seconds, and from them: dismissals, changes and their scope, engagement, group type, labels."""

    def __init__(self, settings: AfterwardsSettings = DEFAULT_AFTERWARDS) -> None:
        self._settings = settings
        self._cleaner = Cleaner(settings.transients, settings.memory_s)
        # In step with the other: of those alone whom a personal head reads.
        self._personal = Cleaner(settings.transients, settings.memory_s)
        self._detectors = ChangeDetectors(settings.changes)
        self._scopes = ChangeScopes(settings.changes)
        self._engagement = Engagement(settings.engagement)
        self._labeller = Labeller(settings.labels)
        # Who has had a face while changes that are settled now came to be: looking away for a second is no leaving.
        self._with_face: deque[frozenset[str]] = deque(maxlen=2 * settings.changes.together_s + settings.changes.hold)
        self._moved = GroupEngagement()
        self.apart: frozenset[str] = frozenset()
        """Whom the group does not move, as known now."""
        self.unengaged: frozenset[str] = frozenset()
        """Who is left out of the group because it does not move them, as known now; nobody where too few would be left."""

    @property
    def engagement(self) -> GroupEngagement:
        """Whom the group moves, as known now."""
        return self._moved

    @property
    def sides(self) -> bool:
        """Whether there is a group that could fall into sub-groups: members who do not move together are none."""
        return self.engagement.type != "unengaged"

    def knows(self, participant: str) -> bool:
        """Whether somebody is in the call, or has left it not long ago."""
        return self._cleaner.knows(participant)

    def add(
        self, second: int, distributions: Mapping[str, F64 | None], personal: Mapping[str, F64 | None] = NOBODY
    ) -> tuple[list[SettledSecond], list[Event]]:
        """The seconds that are settled now, and what has happened.

        Args:
            second: Later than the one before.
            distributions: (7,) of everybody in the call, from the generic heads; None without a face.
            personal: What is shown of those whom personal heads read, which goes into the group's distribution.
        """
        return self._settle(self._cleaner.add(second, distributions), self._personal.add(second, personal))

    def finish(self) -> tuple[list[SettledSecond], list[Event]]:
        """The seconds and events that were still waiting when the call is over."""
        settled, events = self._settle(self._cleaner.finish(), self._personal.finish())
        return settled, events + self._scopes.finish(self._counted())

    def _settle(
        self, cleaned: list[CleanSecond], personal: list[CleanSecond]
    ) -> tuple[list[SettledSecond], list[Event]]:
        settled, events = [], []
        for clean, shown in zip(cleaned, personal, strict=True):
            events += [dismissal_event(dismissal) for dismissal in clean.dismissals]
            before = self.engagement.type
            self._engage(self._engagement.add(clean.second, clean.distributions))
            if before != self.engagement.type:
                change = {"from": before, "to": self.engagement.type}
                events.append(Event("group_type_changed", float(clean.second), (), change))
            events += self._changes(clean)
            rows = {**clean.distributions, **shown.distributions}
            engaged = {who: row for who, row in rows.items() if who not in self.unengaged}
            group = mean_distribution(engaged, self._settings.group)
            labels = self._labeller.add(
                clean.second, clean.distributions, self.engagement, self._engagement.others_alike()
            )
            settled.append(SettledSecond(clean.second, clean.distributions, group, labels))
        return settled, events

    def _engage(self, engagement: GroupEngagement) -> None:
        """Takes in who is engaged."""
        n, self._moved = len(engagement.members), engagement
        self.apart = frozenset(m.participant for m in engagement.members if m.state == "unengaged")
        least = max(2, self._settings.engagement.kept_share * n)
        self.unengaged = self.apart if n - len(self.apart) >= least else frozenset()

    def _changes(self, clean: CleanSecond) -> list[Event]:
        """The changes whose scope is decided with this second."""
        self._detectors.forget([who for who in self._detectors.known() if not self._cleaner.knows(who)])
        read = {who: row for who, row in clean.distributions.items() if row is not None}
        self._scopes.add(self._detectors.add(clean.second, read))
        self._with_face.append(frozenset(read))
        return self._scopes.settle(clean.second, self._counted())

    def _counted(self) -> frozenset[str]:
        """The members of whom most must change for a change to be the group's."""
        return frozenset().union(*self._with_face) - self.unengaged
