#!/usr/bin/env python3
"""Seconds, memory and ratios on fixed cases, a line each: bench.py BUILD.

Whole processes, best of 20 (a busy machine only ever adds). The rows also go to build/bench.json.
A figure stands beside its target; missing it is said, and the exit code is 1."""
import fcntl
import json
import os
import subprocess
import sys
import time

RUNS = 20
MODELS = "tests/data/models"
CLUSTER = "4x8xH100-80G"

LLM = "build/llm-126.json"
LLM_RUN = ["--seq", "4096", "--batch", "64", "--gpu", "H100-80G"]
# The published shape of Llama 3.1 405B.
LLM_CONFIG = {"model_type": "llama", "hidden_size": 16384, "intermediate_size": 53248, "num_hidden_layers": 126,
              "num_attention_heads": 128, "num_key_value_heads": 8, "vocab_size": 128256,
              "tie_word_embeddings": False, "torch_dtype": "bfloat16"}

# name, command behind `kplan`, target in seconds
CASES = [
    ("startup", ["version"], 0.005),
    ("summary-resnet50", ["summary", f"{MODELS}/resnet50.json"], None),
    ("explain-resnet50", ["explain", f"{MODELS}/resnet50.json"], 0.050),
    ("explain-resnet50-remedies", ["explain", f"{MODELS}/resnet50.json", "--batch", "512"], 0.050),
    ("explain-transformer", ["explain", f"{MODELS}/transformer.json"], None),
    ("explain-llm-126", ["explain", LLM, *LLM_RUN, "--dp", "4", "--zero", "3"], 0.050),
    ("explain-llm-126-pipeline", ["explain", LLM, *LLM_RUN, "--framework", "megatron", "--tp", "8", "--pp", "8",
                                  "--dp", "4", "--zero", "1"], 0.050),
    ("plan-dense-32", ["plan", f"{MODELS}/dense.json", "--cluster", CLUSTER], None),
    ("plan-transformer-32", ["plan", f"{MODELS}/transformer.json", "--cluster", CLUSTER], None),
    ("plan-resnet50-32", ["plan", f"{MODELS}/resnet50.json", "--cluster", CLUSTER, "--batch", "256"], 0.200),
]


def run_once(argv):
    """Seconds and exit code of one process."""
    start = time.perf_counter()
    code = subprocess.call(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start, code


def peak_rss_bytes(argv):
    """Most memory of one process. wait4 counts the image before exec (this interpreter), so the
    kernel's own high-water mark is read while the process waits to write into a full pipe."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    os.write(writer, b" " * 4096)
    process = subprocess.Popen(argv, stdout=writer, stderr=subprocess.DEVNULL)
    os.close(writer)
    peak, waits = None, 0
    while waits < 3 and process.poll() is None:
        time.sleep(0.01)
        try:
            with open(f"/proc/{process.pid}/status", encoding="ascii") as status:
                fields = dict(line.split(":", 1) for line in status)
        except OSError:
            break
        waits = waits + 1 if fields["State"].split()[0] == "S" else 0
        if "VmHWM" in fields:
            peak = int(fields["VmHWM"].split()[0]) * 1024
    while os.read(reader, 65536):
        pass
    os.close(reader)
    process.wait()
    return peak


def measure(kplan, name, args, target):
    runs = [run_once([kplan] + args) for _ in range(RUNS)]
    seconds = min(r[0] for r in runs)
    row = {"name": name, "seconds": seconds, "instructions": None,
           "peak_rss_bytes": peak_rss_bytes([kplan] + args), "gap": None, "value": None, "unit": None}
    failed = [r[1] for r in runs if r[1] not in (0, 2)]
    if args[0] == "plan" and not failed:
        plan = json.loads(subprocess.run([kplan] + args + ["--json", "--timing"], check=True,
                                         capture_output=True).stdout)
        row["gap"] = plan["bound"]["gap"]
        row["value"] = plan["search"]["candidates"] / max(plan["search"]["seconds"], 1e-9)
        row["unit"] = "candidates/s"
    if failed:
        return row, f"{name}: kplan ended with {failed[0]}"
    if target and seconds > target:
        return row, f"{name}: {seconds * 1e3:.1f} ms, the target is {target * 1e3:.0f} ms"
    return row, None


def line(row, target):
    text = f"{row['name']:<22} {row['seconds'] * 1e3:8.2f} ms"
    text += f"  (target {target * 1e3:3.0f} ms)" if target else " " * 17
    text += f"  {row['peak_rss_bytes'] / 2**20:6.1f} MiB"
    if row["gap"] is not None:
        text += f"  gap {row['gap'] * 100:.1f} %"
    if row["value"] is not None:
        text += f"  {row['value']:,.0f} {row['unit']}"
    return text


def main():
    kplan = os.path.join(sys.argv[1], "kplan")
    rows, misses = [], []
    os.makedirs("build", exist_ok=True)
    with open(LLM, "w", encoding="utf-8") as file:
        json.dump(LLM_CONFIG, file)
    for name, args, target in CASES:
        row, miss = measure(kplan, name, args, target)
        rows.append(row)
        print(line(row, target), flush=True)
        if miss:
            misses.append(miss)
    # How many plans a second one process after the other makes: what a scheduler's script sees.
    dense = next(r for r in rows if r["name"] == "plan-dense-32")
    rows.append({"name": "plans-a-second", "seconds": None, "instructions": None, "peak_rss_bytes": None,
                 "gap": None, "value": 1 / dense["seconds"], "unit": "plans/s"})
    print(f"{'plans-a-second':<22} {1 / dense['seconds']:8.1f} plans/s (the Dense model, a process each)")
    os.makedirs("build", exist_ok=True)
    with open("build/bench.json", "w", encoding="utf-8") as out:
        json.dump({"rows": rows}, out, indent=1)
        out.write("\n")
    for miss in misses:
        print(f"bench: {miss}", file=sys.stderr)
    return 1 if misses else 0


if __name__ == "__main__":
    sys.exit(main())
