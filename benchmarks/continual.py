"""What is left of five NER batches with types of their own, taught one after the other, by each protection?

    python benchmarks/continual.py --output output/continual
    python benchmarks/continual.py --only replay ewc --train 100 --epochs 5

The batches are `synthetic.ner_batches`: PER, LOC, ORG, DATE, JOB. Each side teaches them in this order by `teach`, with
equal settings; beside them one model is trained on all batches at once (joint). The score is the mean of F1 on the five
test sets after the last batch. Started again, the script goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import reasoner

SIDES: dict[str, dict[str, Any]] = {  # a learning rate is times --rate
    "plain": {},
    "replay": {"protection": "replay"},
    "ewc": {"protection": "ewc"},
    "lwf": {"protection": "lwf"},
    "adapters": {"protection": "adapters", "method": "adapter", "learning_rate": 10.0},
    "lora": {"protection": "adapters", "method": "lora", "learning_rate": 6.0},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="folder or Hub id; default: the embedded MiniLM")
    parser.add_argument("--train", type=int, default=80, help="training rows of a batch")
    parser.add_argument("--test", type=int, default=100, help="test rows of a batch")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--rate", type=float, default=3e-4, help="learning rate; of adapters 10 times, of LoRA 6 times")
    parser.add_argument("--only", nargs="+", choices=[*SIDES, "joint"], default=[*SIDES, "joint"])
    parser.add_argument("--ewc", type=float, help="strength of EWC; default: the library's")
    parser.add_argument("--replay", type=float, help="share of old rows in an epoch; default: the library's")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, default=Path("output") / "continual")
    arguments = parser.parse_args()

    import torch

    torch.set_num_threads(arguments.threads)
    sizes = {"train": arguments.train, "validation": 30, "test": arguments.test}
    batches = reasoner.synthetic.ner_batches(**sizes, seed=arguments.seed)
    settings = {"task": "ner", "num_train_epochs": arguments.epochs, "seed": arguments.seed, "use_cpu": True,
                "disable_tqdm": True, "checkpoint_steps": 20, "evaluate_before": False,
                "learning_rate": arguments.rate}  # fmt: skip
    joint = joint_score(arguments, batches, settings) if "joint" in arguments.only else None
    rows = []
    for name in (side for side in SIDES if side in arguments.only):
        side = dict(SIDES[name])
        if name == "ewc" and arguments.ewc is not None:
            side["protection"] = reasoner.EWC(strength=arguments.ewc)
        if name == "replay" and arguments.replay is not None:
            side["protection"] = reasoner.Replay(share=arguments.replay)
        side["learning_rate"] = arguments.rate * side.get("learning_rate", 1.0)
        began = time.perf_counter()
        found = reasoner.teach(arguments.model, batches, output_dir=arguments.output / name, **{**settings, **side})
        print(f"\n{found}\n", flush=True)
        (arguments.output / f"{name}.json").write_text(json.dumps(found.to_dict(), indent=1), "utf-8")
        rows.append((name, found.transfer, time.perf_counter() - began))
    print("| side | mean F1 at the end | share of joint | forgetting | backward transfer | seconds of this call |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, transfer, seconds in rows:
        share = "-" if not joint else f"{transfer.average / joint:.1%}"
        print(f"| {name} | {transfer.average:.4f} | {share} | {transfer.forgetting:.4f} | {transfer.backward:+.4f} | "
              f"{seconds:.0f} |")  # fmt: skip
    if joint is not None:
        print(f"| joint | {joint:.4f} | 100.0% | - | - | - |")


def joint_score(arguments: argparse.Namespace, batches: dict[str, Any], settings: dict[str, Any]) -> float:
    """Train one model on all batches at once, and return the mean of its F1 on their test sets."""
    folder = arguments.output / "joint"
    together = {split: [row for pack in batches.values() for row in pack[split]] for split in ("train", "validation")}
    result = reasoner.fine_tune(arguments.model, together, output_dir=folder, resume=True, **settings)
    scores = {name: result.evaluate(pack["test"])["f1"] for name, pack in batches.items()}
    print("joint:", ", ".join(f"{name} {score:.4f}" for name, score in scores.items()), flush=True)
    return sum(scores.values()) / len(scores)


if __name__ == "__main__":
    main()
