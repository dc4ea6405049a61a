"""Which rows should be labelled next, what would more of them give, and what can the model label itself?

    python examples/less_data.py
    python examples/less_data.py --data FOLDER --task classification --pool unlabelled.jsonl

FOLDER holds train, validation and test files, as fine_tune reads them, and the pool rows of the same form without gold.
Without them a small generated data set is used, without --model the embedded MiniLM. See docs/less_data.md.
"""

import argparse
from pathlib import Path

import reasoner


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="folder with split files, or a Hub id")
    parser.add_argument("--pool", help="file of rows without gold; goes with --data")
    parser.add_argument("--task", default="relation", help="of the data: ner, nli, classification, relation, ...")
    parser.add_argument("--model", help="Hub id or folder")
    parser.add_argument("--number", type=int, default=20, help="rows to label")
    parser.add_argument("--steps", type=int, default=30, help="of each training")
    parser.add_argument("--output", type=Path, default=Path("output") / "less_data")
    arguments = parser.parse_args()

    data, pool = arguments.data, arguments.pool
    if data is None:
        drawn = reasoner.synthetic.relation_pack(train=300, validation=60, test=60)
        data, pool = {**drawn, "train": drawn["train"][:80]}, drawn["train"][80:]
    elif pool is None:
        parser.error("--data needs --pool")
    settings = {"task": arguments.task, "max_steps": arguments.steps, "max_length": 64}

    curve = reasoner.learning_curve(
        arguments.model, data, seeds=[0], output_dir=arguments.output / "curve", check=False, **settings
    )
    print(curve)
    curve.plot(arguments.output / "curve.png")

    found = reasoner.self_train(arguments.model, data, pool, precision=0.9, check=False, **settings)
    print(f"\n{found}")

    chosen = reasoner.to_label(found.result, pool, number=arguments.number)
    file = arguments.output / "to_label.jsonl"
    if file.exists():
        print(f"\n{file} is there already: fill it in, and read it with reasoner.read_labels.")
    else:
        print(f"\n{chosen}\n\nwritten to {chosen.write(file)}")
    inputs = [dict(one.columns) for one in chosen[:2]] if arguments.data is None else []
    for one in reasoner.evidence(found.result, inputs, number=3):
        print(f"\n{one}")


if __name__ == "__main__":
    main()
