"""What the adapters make of a recorded row, and what kplan is asked.

An adapter is a module with `rows(data)`: it reads its records below the folder `data` and yields
Row, Bracket and Left. It builds the model file and the options from the row's configuration alone;
the measured figure is only carried along. It must read rows it has never seen: other members of
the same families, other sizes."""
import json, os
from dataclasses import dataclass, field


@dataclass
class Row:
    """A measured figure. `sets`: the sets it counts in; `figure`: bytes, allocated or reserved, the
    field of kplan's peak that it is compared with, or a function of kplan's answer that gives
    (expected, low, high); `model`: a path, or a model file's object; `options`: of kplan's
    `command`."""
    sets: tuple
    id: str
    measured: int
    model: object
    options: list = field(default_factory=list)
    figure: object = "allocated"
    command: str = "explain"


@dataclass
class Bracket:
    """A configuration that is known to fit, or not to: `fits`. Compared with the verdict of the
    whole, or of the phase named."""
    sets: tuple
    id: str
    fits: bool
    model: object
    options: list = field(default_factory=list)
    phase: str = None
    command: str = "explain"


@dataclass
class Left:
    """A row of the sets that is not used, and why."""
    sets: tuple
    id: str
    reason: str


_last = {}    # the record that was read last: file, line number, group
_skipped = {}  # records that an adapter stumbled over: (file, line number) to (group, reason)


def records(data, *path):
    """The objects of a file of JSON lines; none if it is not there."""
    name = os.path.join(data, *path)
    if not os.path.exists(name):
        return
    with open(name, encoding="utf-8") as file:
        for number, line in enumerate(file):
            if not line.strip() or (name, number) in _skipped:
                continue
            _last.update(where=(name, number), group=None)
            record = json.loads(line)
            _last["group"] = record.get("group")
            yield record


def items_of(adapter, data):
    """All items of an adapter. A record that it cannot read (a key is missing, a value of another
    kind) is left out with the reason and costs no other record."""
    mine = set()
    while True:
        _last.clear()
        try:
            items = list(adapter.rows(data))
            break
        except Exception as error:  # whatever a record may do to an adapter
            where, reason = _last.get("where"), f"not readable: {type(error).__name__} {error}"[:100]
            if where is None or where in mine:
                return [Left((adapter.__name__,), adapter.__name__, reason)]
            mine.add(where)
            _skipped[where] = (_last["group"] or adapter.__name__, reason)
    items += [Left((_skipped[w][0],), f"{w[0]}:{w[1] + 1}", _skipped[w][1]) for w in sorted(mine)]
    for where in mine:
        del _skipped[where]
    return items


def option(name, value):
    return [] if value is None else [f"--{name}", str(value)]


@dataclass(frozen=True)
class OfStage:
    """A figure of one pipeline stage: allocated, reserved, steady or kept, with its bounds; or
    above_steady: what its peak has more than it holds between steps."""
    stage: int
    name: str

    def __call__(self, answer):
        stage = answer["stages"][self.stage]
        if self.name == "above_steady":
            return tuple(stage[f"allocated{part}_bytes"] - stage["steady_bytes"] for part in ("", "_low", "_high"))
        return tuple(stage[f"{self.name}{part}_bytes"] for part in ("", "_low", "_high"))
