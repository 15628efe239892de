#!/usr/bin/env python3
"""Compares `kplan summary FILE --json` with recorded facts: goldens.py KPLAN DATA.

A set is a folder below DATA/keras, and DATA/hf. Files that hold their facts (`layers`, `model_json`)
are compared whole: totals, and every layer's shapes, parameters, types and weights, nested ones too.
Others are compared by the total of parameters that an INDEX.tsv beside them or DATA/keras/PARAMS.tsv
knows; without one, reading without a refusal is all that is asked. Prints a line a set and writes
build/goldens.json."""
import collections, csv, json, os, subprocess, sys, tempfile


# Layers whose file does not say what they hold. The file is refused, or its total lacks them; with
# this told (--layers) the total must agree, so that nothing else hides behind the reason.
CODE = "the code of a Lambda says what it makes"
CLASS = "a class of the file's author: its weights are in his code"
SAME = {"output_shape": "same", "params": 0}
TOLD = {
    "corpus/1524045patrick-CarND-BehavioiurCloning-P3__model.h5cfg.json": (CODE, {"lambda_1": SAME}),
    "corpus/Fdevmsy-End-to-end-self-driving-robot__model-009.h5cfg.json": (CODE, {"lambda_1": SAME}),
    "corpus/deeplearning4j-dl4j-test-resources__examples_lambda_model_lambda.h5cfg.json": (CODE, {"Lambda": SAME}),
    "corpus/deeplearning4j-dl4j-test-resources__examples_lambda_sequential_lambda.h5cfg.json": (CODE, {"Lambda": SAME}),
    "corpus/fastmachinelearning-example-models__keras_garnet_1layer.json":
        (CLASS, {"GarNet": {"output_shape": [None, 4], "params": 108}}),
    "corpus/fastmachinelearning-example-models__keras_garnet_3layer.json":
        (CLASS, {"GarNetStack": {"output_shape": [None, 16], "params": 2976}}),
    "corpus/Harshitha553-Transformer-Streamlit__transformer_model.keraszip.json":
        (CLASS, {"PositionalEmbedding": {"params": 7040}, "TransformerEncoder": {"params": 83200},
                 "TransformerDecoder": {"params": 149696}}),
    "corpus/glbn333-pfam_transformer__transformer_model.keraszip.json":
        (CLASS, {"TokenAndPositionEmbedding": {"params": 328192}, "TransformerBlock": {"params": 166016}}),
    "corpus/hasinisirigari-Forcasting-ICU-Vital-Sign-Deteriora__transformer_model.keraszip.json":
        (CLASS, {"TransformerBlock": {"params": 83200}}),
    "corpus/meganathan-mech-Traffic-Forecasting__attention_model.keraszip.json":
        (CLASS, {"BahdanauAttention": {"params": 4161}}),
    "corpus/sureshiitp-intent-classifier-app-v3__bilstm_model.keraszip.json":
        (CLASS, {"AttentionLayer": {"params": 296}}),
    "corpus/tmp122-arrhythmia__transformer_model.keraszip.json":
        (CLASS, {"TransformerBlock": {"params": 19040}}),
    "archives/tmp122-arrhythmia__transformer_model.keras": (CLASS, {"TransformerBlock": {"params": 19040}}),
    "layers/g_registered_custom_layer.json": (CLASS, {"Scale": {"params": 8}}),
}


# Where Keras itself says something wrong; what it says is then asked for loosely: sizes that it
# does give must be there, in any order.
KERAS_IS_WRONG = {
    "EinsumDense": "compute_output_shape gives null for sizes that output_shape leaves to the input, "
                   "and swaps the axes of an ellipsis",
}


def table(path):
    if not os.path.exists(path):
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def known_totals(data):
    """Total of parameters by path, as far as tables know it."""
    totals = {}
    for row in table(os.path.join(data, "keras", "PARAMS.tsv")):
        if row.get("file") and (row.get("params_exact") or "").isdigit():
            totals[os.path.join(data, row["file"])] = int(row["params_exact"])
    for folder in folders(data):
        for row in table(os.path.join(folder, "INDEX.tsv")):
            known = row.get("params_best") or row.get("params_known") or ""
            if row.get("file") and known.isdigit():
                totals[os.path.join(folder, row["file"])] = int(known)
    return totals


def folders(data):
    keras = os.path.join(data, "keras")
    found = [os.path.join(keras, d) for d in sorted(os.listdir(keras))] if os.path.isdir(keras) else []
    return [f for f in found + [os.path.join(data, "hf")] if os.path.isdir(f)]


def recorded(path):
    """The facts in the file itself, or None."""
    try:
        with open(path, encoding="utf-8") as file:
            facts = json.load(file)
    except (ValueError, OSError):
        return None
    return facts if isinstance(facts, dict) and "model_json" in facts and "layers" in facts else None


def summary(kplan, path, layers=None):
    """(summary, refusal)"""
    command = [kplan, "summary", path, "--json"]
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        if layers:
            json.dump(layers, file)
            file.flush()
            command += ["--layers", file.name]
        run = subprocess.run(command, capture_output=True, text=True, timeout=60)
    if run.returncode == 0:
        return json.loads(run.stdout), None
    first = run.stderr.splitlines()[0] if run.stderr else "no message"
    return None, f"exit {run.returncode}: {first}"


def shapes_of(layer):
    """The output shapes of a recorded layer's first call."""
    calls = layer.get("node_output_shapes")
    if calls:
        return calls[0]
    shape = layer["output_shape"]
    if isinstance(shape, dict):
        return list(shape.values())
    return shape if shape and isinstance(shape[0], list) else [shape]


def weights_of(layer):
    """Those of inner layers too: facts have them with the wrapper, summaries with the inner model."""
    inner = [w for below in layer.get("layers", []) for w in weights_of(below)]
    return sorted(inner + [(w["path"], tuple(w["shape"]), w["dtype"], w["trainable"]) for w in layer.get("weights", [])])


def same_weights(facts, said):
    """Name scopes of the code that once made a model stand in its paths, not in its file."""
    def same(fact, ours):
        return fact[1:] == ours[1:] and (fact[0] == ours[0] or fact[0].endswith("/" + ours[0]))
    return len(facts) == len(said) and all(any(same(f, s) for s in said) for f in facts)


def same_shapes(facts, said, loose):
    """`loose`: as KERAS_IS_WRONG says."""
    def same(fact, ours):
        left = list(ours)
        for dim in fact if loose else []:
            if dim is not None and dim in left:
                left.remove(dim)
        return fact == ours or (loose and len(fact) == len(ours) and
                                len(left) == len(ours) - sum(d is not None for d in fact))
    return len(facts) == len(said) and all(same(f, s) for f, s in zip(facts, said))


def differs_in_shape(where, facts, said, loose):
    return None if same_shapes(facts, said, loose) else f"{where}: {said} instead of {facts}"


def differs(where, fact, said):
    return None if fact == said else f"{where}: {said} instead of {fact}"


def compare_layer(fact, said, loosely):
    name = fact["name"]
    loose = loosely and fact.get("class") in KERAS_IS_WRONG
    found = differs_in_shape(f"{name} shapes", shapes_of(fact), said["output_shapes"], loose)
    if found or not fact.get("is_layer", True):
        return found
    for key in ("params", "trainable", "non_trainable", "compute_dtype", "variable_dtype"):
        if key in fact and key in said:
            found = found or differs(f"{name} {key}", fact[key], said[key])
    if "nested" in fact:
        return found or compare_layers(fact["nested"], said.get("layers", []), loosely)
    if found or same_weights(weights_of(fact), weights_of(said)):
        return found
    return differs(f"{name} weights", weights_of(fact), weights_of(said))


def compare_layers(facts, said, loosely):
    found = differs("layers", [f["name"].rsplit("/", 1)[-1] for f in facts], [s["name"].rsplit("/", 1)[-1] for s in said])
    for fact, layer in zip(facts, said):
        found = found or compare_layer(fact, layer, loosely)
    return found


def compare_total(facts, said):
    return differs("total parameters", facts["total_params"], said["params"]["total"])


def compare(facts, said, loosely=False):
    """What differs first, or None."""
    params = said["params"]
    loose = loosely and any(layer.get("class") in KERAS_IS_WRONG for layer in facts["layers"])
    return (
        differs("total parameters", facts["total_params"], params["total"])
        or differs("trainable parameters", facts["trainable_params"], params["trainable"])
        or differs("non-trainable parameters", facts["non_trainable_params"], params["non_trainable"])
        or differs("inputs", facts.get("inputs", said["inputs"]), said["inputs"])
        or differs_in_shape("outputs", facts.get("outputs", said["outputs"]), said["outputs"], loose)
        or compare_layers(facts["layers"], said["layers"], loosely)
    )


def check(kplan, path, totals, layers=None):
    """("agree" | "keras" | "refused" | "disagree" | "read", reason); keras: agrees but for what
    Keras says wrong."""
    said, refusal = summary(kplan, path, layers)
    if refusal:
        return "refused", refusal
    facts = recorded(path)
    if facts:
        found = compare_total(facts, said) if layers else compare(facts, said)
        if found and not layers and not compare(facts, said, loosely=True):
            return "keras", found
    elif path in totals:
        found = differs("total parameters", totals[path], said["params"]["total"])
    else:
        return "read", None
    return ("disagree", found) if found else ("agree", None)


def check_told(kplan, path, totals, reason):
    """The same once more with what TOLD has for the file."""
    told = TOLD.get("/".join(path.split(os.sep)[-2:]))
    if not told or check(kplan, path, totals, told[1])[0] != "agree":
        return None
    return f"{told[0]} ({', '.join(told[1])}); agrees once told: {reason}"


def run_set(kplan, folder, totals):
    names = [n for n in sorted(os.listdir(folder)) if not n.endswith((".tsv", ".md", ".txt"))]
    result = {"name": os.path.basename(folder), "files": len(names), "agree": 0, "refused": 0,
              "disagree": [], "no_facts": 0, "refusals": [], "told": [], "keras_is_wrong": []}
    for name in names:
        path = os.path.join(folder, name)
        what, reason = check(kplan, path, totals)
        told = check_told(kplan, path, totals, reason) if what in ("refused", "disagree") else None
        if told:
            result["told"].append({"file": name, "reason": told})
        elif what in ("agree", "keras"):
            result["agree"] += 1
            if reason:
                result["keras_is_wrong"].append({"file": name, "reason": reason})
        elif what == "read":
            result["no_facts"] += 1
        elif what == "refused":
            result["refused"] += 1
            result["refusals"].append({"file": name, "reason": reason})
        else:
            result["disagree"].append({"file": name, "reason": reason})
    return result


def main():
    if len(sys.argv) != 3:
        sys.exit("usage: goldens.py KPLAN DATA")
    kplan, data = os.path.abspath(sys.argv[1]), sys.argv[2]
    totals = known_totals(data)
    sets = [run_set(kplan, folder, totals) for folder in folders(data)]
    for s in sets:
        print(f"{s['name']}: {s['files']} files, {s['agree']} agree, {len(s['told'])} agree with "
              f"--layers, {s['refused']} refused, "
              f"{len(s['disagree'])} disagree, {s['no_facts']} read without a recorded fact")
        for row in s["keras_is_wrong"]:
            print(f"    agrees but for Keras: {row['file']}: {row['reason'][:160]}")
        for row in s["disagree"][:8]:
            print(f"    {row['file']}: {row['reason'][:240]}")
        causes = collections.Counter(r["reason"].split(": ")[0] for r in s["refusals"])
        for cause, n in sorted(causes.items()):
            print(f"    {n} x {cause}")
    os.makedirs("build", exist_ok=True)
    with open("build/goldens.json", "w", encoding="utf-8") as file:
        json.dump({"sets": sets}, file, indent=1)
        file.write("\n")


if __name__ == "__main__":
    main()
