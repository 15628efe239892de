#!/usr/bin/env python3
"""Compares `kplan explain` with published and compiled measurements: truth KPLAN DATA [SET...].

Every adapter turns records below DATA into questions (rows.py says how). Prints a line a set: rows,
rows used, those left out by reason, then the error's median, 95th percentile, largest and bias
(fractions), the share of measured figures inside kplan's interval and the interval's median width;
for brackets, how often "fits" and "no" were said and were true. Writes build/truth.json. With SETs,
only the adapters that yield one of them matter, and every row is listed, worst last."""
import collections, importlib, json, multiprocessing, os, pkgutil, statistics, subprocess, sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from rows import Bracket, Left, Row, items_of  # noqa: E402

NOT_ADAPTERS = ("rows", "__main__")
SETS = ("galvatron-profile", "keras-tf", "liger-op", "megatron-golden", "megatron-golden-a100", "megatron-static",
        "mist-aceso-runtime", "schedtune", "simumax-b200", "tf_graph", "torchtitan", "xla_h100", "xla_h100-layers",
        "xla_h100-models", "xla_h100-sharded", "xmem")  # are told about even without a row
BRACKETS = ("fits-bert", "fits-mosaicml", "fits-timm")
FIGURES = {  # field of peak, its low and its high
    "bytes": ("bytes", "low_bytes", "high_bytes"),
    "allocated": ("allocated_bytes", "allocated_low_bytes", "allocated_high_bytes"),
    "reserved": ("reserved_bytes", "reserved_low_bytes", "reserved_high_bytes"),
}


def ask(job):
    """One run of kplan: (answer, error)."""
    kplan, command, model, options = job
    path, made = model, None
    if not isinstance(path, str):
        made = tempfile.NamedTemporaryFile("w", suffix=".json", delete=False)
        with made:
            json.dump(model, made)
        path = made.name
    try:
        done = subprocess.run([kplan, command, path, "--json", *map(str, options)],
                              capture_output=True, text=True, timeout=300)
        answer = json.loads(done.stdout) if done.stdout else {}
        if answer.get("schema") == f"kplan.{command}/1":
            return answer, None
        first = (done.stderr.splitlines() or [f"exit {done.returncode}"])[0]
        return None, first.replace(f"{made.name}: ", "") if made else first
    except subprocess.TimeoutExpired:
        return None, "no answer in 300 s"
    finally:
        if made:
            os.unlink(path)


def numbers(row, answer):
    """(expected, low, high) of the figure compared."""
    if callable(row.figure):
        return row.figure(answer)
    return tuple(answer["peak"][name] for name in FIGURES[row.figure])


def verdict_of(bracket, answer):
    """Of the whole, or of one phase."""
    if not bracket.phase:
        return answer["verdict"]
    return next(p["verdict"] for p in answer["phases"] if p["name"] == bracket.phase)


def share(part, whole):
    return part / whole if whole else None


def rounded(value):
    return None if value is None else round(value, 5)


def set_of_rows(name, rows, left):
    """The statistics of one set; rows: (row, expected, low, high)."""
    errors = sorted((abs(e / r.measured - 1), r.id, r.measured, e) for r, e, _, _ in rows)
    size = [x[0] for x in errors]
    p95 = size[min(len(size) - 1, int(0.95 * len(size)))] if size else None
    return {
        "name": name, "rows": len(rows) + sum(left.values()), "used": len(rows), "left_out": dict(left),
        "median_abs": rounded(statistics.median(size) if size else None), "p95_abs": rounded(p95),
        "max_abs": rounded(size[-1] if size else None),
        "bias": rounded(statistics.mean(e / r.measured - 1 for r, e, _, _ in rows) if rows else None),
        "inside_interval": rounded(share(sum(lo <= r.measured <= hi for r, _, lo, hi in rows), len(rows))),
        "interval_width_median": rounded(statistics.median((hi - lo) / max(e, 1) for _, e, lo, hi in rows) if rows else None),
        "worst": [{"id": i, "measured": m, "expected": e} for _, i, m, e in reversed(errors[-5:])],
    }


def set_of_brackets(name, said, left):
    """said: (fits, verdict). `fits_said` and `no_fit_said` count the answers, `fits_true` and
    `no_fit_true` the share of them that was right."""
    fits = [fits for fits, verdict in said if verdict == "fits"]
    no = [not fits for fits, verdict in said if verdict == "no"]
    return {
        "name": name, "rows": len(said) + sum(left.values()), "used": len(said), "left_out": dict(left),
        "fits_true": rounded(share(sum(fits), len(fits))), "fits_said": len(fits),
        "no_fit_true": rounded(share(sum(no), len(no))), "no_fit_said": len(no),
        "tight_share": rounded(share(sum(v == "tight" for _, v in said), len(said))),
    }


def adapters():
    names = sorted(m.name for m in pkgutil.iter_modules([HERE]))
    modules = [importlib.import_module(n) for n in names if n not in NOT_ADAPTERS]
    return [m for m in modules if hasattr(m, "rows")]


def line(entry):
    out = "; ".join(f"{n} {reason}" for reason, n in sorted(entry["left_out"].items()))
    figures = ", ".join(f"{k} {v}" for k, v in entry.items()
                        if k not in ("name", "rows", "used", "left_out", "worst"))
    return f"{entry['name']}: {entry['used']} of {entry['rows']} used{f' (left out: {out})' if out else ''}; {figures}"


def listing(rows):
    for row, expected, low, high in sorted(rows, key=lambda x: abs(x[1] / x[0].measured - 1)):
        inside = " " if low <= row.measured <= high else "!"
        print(f"  {expected / row.measured - 1:+8.2%} {inside} {row.measured:>14} {expected:>14}"
              f" [{low / max(expected, 1) - 1:+.1%} {high / max(expected, 1) - 1:+.1%}] {row.id}")


def main():
    kplan, data, only = sys.argv[1], sys.argv[2], set(sys.argv[3:])
    asked, left, rows, said = [], collections.defaultdict(collections.Counter), {}, {}
    for item in (i for a in adapters() for i in items_of(a, data)):
        if only and not only & set(item.sets):
            continue
        if isinstance(item, Row) and not item.measured > 0:
            item = Left(item.sets, item.id, "nothing was measured")
        if isinstance(item, Left):
            for name in item.sets:
                left[name][item.reason] += 1
        else:
            asked.append(item)
    with multiprocessing.Pool() as pool:
        answers = pool.imap(ask, ((kplan, i.command, i.model, i.options) for i in asked), chunksize=8)
        for item, (answer, error) in zip(asked, answers):
            for name in item.sets:
                table = rows if isinstance(item, Row) else said
                table.setdefault(name, [])
                if error:
                    left[name]["kplan: " + error.removeprefix("kplan: ")[:120]] += 1
                elif isinstance(item, Bracket):
                    table[name].append((item.fits, verdict_of(item, answer), item.id))
                else:
                    try:
                        table[name].append((item, *numbers(item, answer)))
                    except (KeyError, IndexError, TypeError) as missing:
                        left[name][f"kplan's answer lacks the figure: {missing}"[:120]] += 1
    always = set() if only else set(SETS)
    brackets = {n for n in left if n.startswith("fits-")} | set(said) | (set() if only else set(BRACKETS))
    sets = [set_of_rows(n, rows.get(n, []), left[n]) for n in sorted(set(rows) | always | set(left) - brackets)]
    pairs = [set_of_brackets(n, [s[:2] for s in said.get(n, [])], left[n]) for n in sorted(brackets)]
    for name in sorted(only):
        listing(rows.get(name, []))
        for fits, verdict, label in said.get(name, []):
            right = "right" if verdict == ("fits" if fits else "no") else "tight" if verdict == "tight" else "WRONG"
            print(f"  {right:5} {'fits' if fits else 'no':4} said {verdict:5} {label}")
    for entry in sets + pairs:
        print(line(entry))
    os.makedirs("build", exist_ok=True)
    with open("build/truth.json", "w", encoding="utf-8") as file:
        json.dump({"sets": sets, "brackets": pairs, "choice": []}, file, indent=1)


if __name__ == "__main__":
    main()
