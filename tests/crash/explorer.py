"""The crash explorer: one path is one story with the process killed at given points.

Kill points are not chosen by hand. Every commit of ours is told before and after, every exchange
with a provider before it is sent and after its answer; a run without a kill lists them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import timedelta

from tests.crash import invariants
from tests.crash.stories import Story
from tests.crash.world import Circles, Stage
from tests.payments.kit import JANITOR

#: Long enough for the daily looks and for an authorisation to lapse.
LONGEST = timedelta(days=3)

Make = Callable[[], Story]


@dataclass(frozen=True)
class Path:
    """How one path went."""

    story: str
    killed_at: tuple[int, ...]
    points: tuple[str, ...]
    written: tuple[tuple[int, int], ...]
    problems: tuple[str, ...]

    def __str__(self) -> str:
        where = ", ".join(f"{n} ({self.points[n - 1]})" for n in self.killed_at) or "never"
        return f"{self.story}, killed at {where}: {'; '.join(self.problems)}"


@dataclass
class Findings:
    """All paths of an exploration."""

    paths: int = 0
    kill_points: int = 0
    bad: list[Path] = field(default_factory=list)
    points: Counter[str] = field(default_factory=Counter)

    def add(self, path: Path) -> None:
        self.paths += 1
        if path.problems:
            self.bad.append(path)

    def kinds(self) -> set[str]:
        """What went wrong, as the first words of the sentences."""
        return {problem.partition(":")[0] for path in self.bad for problem in path.problems}

    def __str__(self) -> str:
        spread = ", ".join(f"{n} {point}" for point, n in sorted(self.points.items()))
        return (
            f"{self.paths} paths, {sum(self.points.values())} points to be killed at ({spread}), of"
            f" which {self.kill_points} differ; {len(self.bad)} bad"
        )


def play(
    stage: Stage, make: Make, kill_at: Iterable[int] = (), pause_at: tuple[int, float] = (0, 0.0)
) -> Path:
    """Play one story to its end and judge it."""
    story, kills = make(), frozenset(kill_at)
    with stage.world(story.accounts, kills, pause_at) as world:
        story.prepare(world)
        try:
            world.settle(lambda: story.acting(world), LONGEST)
            world.guard(lambda: world.app.sync.since(JANITOR, world.started))
            problems = invariants.seen(world, story)
            if not problems:
                worked = invariants.work_off(world)
                if worked:
                    world.settle(lambda: None, LONGEST)
                problems = invariants.settled(world, worked=worked)
        except Circles as circles:
            problems = [f"stuck: {circles}"]
        name = f"{story}, paused at {pause_at}" if pause_at[0] else str(story)
        return Path(
            name, tuple(sorted(kills)), tuple(world.points), tuple(world.written),
            tuple(problems),
        )  # fmt: skip


def classes(path: Path) -> list[int]:
    """Kill points that differ: one of each row of points between which nothing was written on
    either side, because nothing else survives a kill.
    """
    found, before = [], None
    for number, written in enumerate(path.written, 1):
        if written != before:
            found.append(number)
        before = written
    return found


def explore(
    stage: Stage, makes: Iterable[Make], *, stride: int = 1, every_point: bool = False
) -> Findings:
    """Play each story without a kill, then once for each kill point that this showed.

    With a *stride* of n each story takes every n-th of its kill points, and the next story begins
    one further, so that n stories of one fate cover all of them.
    """
    findings = Findings()
    for number, make in enumerate(makes):
        whole = play(stage, make)
        findings.add(whole)
        findings.points.update(whole.points)
        kills = range(1, len(whole.points) + 1) if every_point else classes(whole)
        findings.kill_points += len(kills)
        for kill in list(kills)[number % stride :: stride]:
            findings.add(play(stage, make, (kill,)))
    return findings
