"""Train a model that says whether a premise entails a hypothesis.

    python examples/nli.py --train train.jsonl --validation validation.jsonl --test test.jsonl

Each line of a file is {"premise": ..., "hypothesis": ..., "label": ...}. Without files it trains on a small generated
data set. Without --model it uses the embedded MiniLM.
"""

import argparse

import reasoner


def train(data: dict, *, model: str | None = None, output: str | None = None, **settings: object) -> reasoner.Result:
    defaults = {"num_train_epochs": 2, "learning_rate": 1e-4, "per_device_train_batch_size": 32}
    return reasoner.fine_tune(model, data, task="nli", output_dir=output, **{**defaults, **settings})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for split in ("train", "validation", "test"):
        parser.add_argument(f"--{split}", help="JSON lines, CSV or Parquet with premise, hypothesis and label")
    parser.add_argument("--model", help="Hub id or folder")
    parser.add_argument("--output", default="output/nli", help="folder for the model")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    files = {split: getattr(arguments, split) for split in ("train", "validation", "test")}
    data = {split: file for split, file in files.items() if file} or reasoner.synthetic.nli_pack(train=1200)
    result = train(data, model=arguments.model, output=arguments.output, seed=arguments.seed)

    print(result.report())
    pair = {"premise": "Two dogs are running across a field.", "hypothesis": "Some animals are outdoors."}
    prediction = result.predict(pair)
    print(f"{pair['premise']} -> {pair['hypothesis']}  {prediction['label']} ({prediction['score']:.2f})")


if __name__ == "__main__":
    main()
