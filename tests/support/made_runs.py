"""Runs of the study that were never made, to see what a plan asks for."""

from dataclasses import asdict


class Made:
    """Runs whose validation loss is lowest at a rate of my choice, by kind."""

    def __init__(self, best):
        self.best, self.done = best, {}

    def get(self, wanted):
        return self.done.get(wanted)

    def run(self, wanted):
        best = self.best.get(wanted.kind, 4e-3)
        value = 1.0 if wanted.rate is None else 1 + abs(wanted.rate / best - 1)
        read = {part: {"loss": value} for part in ("validation", "test")}
        reads = {str(wanted.length): {"raw": read, "average": read}}
        self.done[wanted] = {**asdict(wanted), "reads": reads}


def finish(what):
    order = []
    while wanted := next(what.pending(), None):
        order.append(wanted)
        what.runs.run(wanted[1])
    return order
