"""How many nested entities of a generated pack does the span head find, names and sentences unseen in training?

    python benchmarks/nested_entities.py --seeds 0 1 2
    python benchmarks/nested_entities.py --seeds 0 1 2 --refit

The embedded MiniLM by default; a minute or two a seed on one core.
"""

from __future__ import annotations

import argparse

import reasoner


def main() -> None:
    """Train once a seed, and print the scores on the test split."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="a folder or Hub id; the embedded model if left out")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--rows", type=int, default=600, help="of training")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--refit", action="store_true", help="train once more, on the rows of validation too")
    arguments = parser.parse_args()
    pack = reasoner.synthetic.nested_ner_pack(train=arguments.rows, validation=100, test=200)
    for seed in arguments.seeds:
        result = reasoner.fine_tune(
            arguments.model,
            pack,
            task="nested_ner",
            seed=seed,
            num_train_epochs=arguments.epochs,
            learning_rate=3e-4,
            evaluate_before=False,
            refit=arguments.refit,
        )
        test, seconds = result.metrics["test"], result.metrics["train"]["seconds"]
        scores = " ".join(f"{name} {test[name]:.3f}" for name in ("f1", "precision", "recall"))
        print(f"seed {seed}: {scores}, trained in {seconds:.0f} s")


if __name__ == "__main__":
    main()
