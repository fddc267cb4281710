"""The crash explorer: one path is one story with the process killed at given points.

Kill points are not chosen by hand. Every commit of ours is told before and after, every exchange
with a provider before it is sent and after its answer; a run without a kill lists them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass, field
from datetime import timedelta

from tests.crash import invariants
from tests.crash.stories import Story
from tests.crash.world import Circles, Stage, World
from tests.payments.kit import JANITOR

#: Long enough for the daily looks and for an authorisation to lapse.
LONGEST = timedelta(days=3)

#: Where a process can stand still and keep nobody else from working: it holds no lock there.
PAUSES = ("commit.after", "send.before", "receive.after")

#: Longer than any effect is late.
AFTERWARDS = timedelta(minutes=15)

Make = Callable[[], Story]


@dataclass(frozen=True)
class Path:
    """How one path went."""

    story: str
    killed_at: tuple[int, ...]
    points: tuple[str, ...]
    written: tuple[tuple[int, int], ...]
    problems: tuple[str, ...]
    #: ``None`` where no provider acted twice, else how that is seen
    doubled: tuple[str, ...] | None = None

    def __str__(self) -> str:
        where = ", ".join(f"{n} ({self.points[n - 1]})" for n in self.killed_at) or "never"
        return f"{self.story}, killed at {where}: {'; '.join(self.problems)}"


@dataclass
class Findings:
    """All paths of an exploration."""

    paths: int = 0
    kill_points: int = 0
    kills: int = 0
    pauses: int = 0
    bad: list[Path] = field(default_factory=list)
    doubled: list[Path] = field(default_factory=list)
    points: Counter[str] = field(default_factory=Counter)

    def add(self, path: Path) -> None:
        self.paths += 1
        if path.problems:
            self.bad.append(path)
        if path.doubled is not None:
            self.doubled.append(path)

    def kinds(self) -> set[str]:
        """What went wrong, as the first words of the sentences."""
        return {problem.partition(":")[0] for path in self.bad for problem in path.problems}

    def __str__(self) -> str:
        spread = ", ".join(f"{n} {point}" for point, n in sorted(self.points.items()))
        return (
            f"{self.paths} paths ({self.kills} kills, {self.pauses} pauses),"
            f" {sum(self.points.values())} kill points ({spread}), of which {self.kill_points}"
            f" differ; {len(self.doubled)} doubles, {len(self.bad)} bad paths"
        )

    def counts(self) -> dict[str, int]:
        """What the summary of a test run adds up."""
        return {
            "paths": self.paths, "kill points": sum(self.points.values()),
            "of them that differ": self.kill_points, "kills": self.kills, "pauses": self.pauses,
            "doubles, all seen": len(self.doubled), "bad paths": len(self.bad),
        }  # fmt: skip


def play(
    stage: Stage, make: Make, kill_at: Iterable[int] = (), pause_at: tuple[int, float] = (0, 0.0)
) -> Path:
    """Play one story to its end and judge it."""
    story, kills, doubled = make(), frozenset(kill_at), None
    with stage.world(story.accounts, kills, pause_at) as world:
        story.prepare(world)
        try:
            world.settle(story.acting, LONGEST)
            # What reached the provider late may have an effect after everybody has given it up.
            world.clock.advance(AFTERWARDS)
            world.settle(story.acting, LONGEST)
            world.guard(lambda: world.app.sync.since(JANITOR, world.started))
            doubled = invariants.doubled(world, story)
            problems = [*invariants.seen(world, story), *story.amiss(world)]
            if not problems:
                worked = invariants.work_off(world)
                if worked:
                    world.settle(_nothing_more, LONGEST)
                problems = invariants.settled(world, worked=worked)
        except Circles as circles:
            problems = [f"stuck: {circles}"]
        name = f"{story}, paused at {pause_at}" if pause_at[0] else str(story)
        return Path(
            name, tuple(sorted(kills)), tuple(world.points), tuple(world.written),
            tuple(problems), doubled,
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


def explore(stage: Stage, makes: Iterable[Make], *, stride: int = 1, first: int = 0) -> Findings:
    """Play each story without a kill, then once for each kill point that this showed.

    With a *stride* of n each story takes every n-th of its kill points; the first story begins at
    the point numbered *first* (modulo n) and each next one at the next, so that n stories of one
    length cover all of them.
    """
    findings = Findings()
    for number, make in enumerate(makes, first):
        whole = play(stage, make)
        findings.add(whole)
        findings.points.update(whole.points)
        kills = classes(whole)
        findings.kill_points += len(kills)
        for kill in kills[number % stride :: stride]:
            findings.kills += 1
            findings.add(_same(whole, kill, play(stage, make, (kill,))))
    return findings


def pause(
    stage: Stage,
    makes: Iterable[Make],
    span_s: float,
    *,
    stride: int = 1,
    first: int = 0,
    points: Container[str] = PAUSES,
) -> Findings:
    """The same with a process that stands still for *span_s* instead of dying."""
    findings = Findings()
    for number, make in enumerate(makes, first):
        whole = play(stage, make)
        findings.add(whole)
        chosen = [n for n, point in enumerate(whole.points, 1) if point in points]
        for point in chosen[number % stride :: stride]:
            findings.pauses += 1
            findings.add(_same(whole, point, play(stage, make, pause_at=(point, span_s))))
    return findings


def _same(whole: Path, point: int, disturbed: Path) -> Path:
    """The disturbed path, once it is sure that the point of this number is the one that was meant.

    Raises:
        AssertionError: the story is not the same when it is played again.
    """
    assert disturbed.points[:point] == whole.points[:point]
    return disturbed


def _nothing_more(_world: World) -> None:
    """The caller has what was wanted, or has given up."""
