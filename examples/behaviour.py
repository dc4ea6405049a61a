"""What does an inference model do that its score does not tell, and does training against a shortcut change it?

    python examples/behaviour.py
    python examples/behaviour.py --data FOLDER --hans FILE --debias "word overlap"

FOLDER holds train, validation and test files with the labels entailment, neutral and contradiction. Without it a small
generated data set is used, without --model the embedded MiniLM. See docs/behaviour.md and docs/robustness.md.
"""

import argparse
from pathlib import Path

import reasoner

TESTS = Path(__file__).with_name("behaviour.yaml")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="folder with split files, or a Hub id")
    parser.add_argument("--hans", help="rows with heuristic and subcase, as HANS has them; default: generated ones")
    parser.add_argument("--model", help="Hub id or folder")
    parser.add_argument("--tests", default=TESTS, help="YAML file of tests")
    parser.add_argument("--debias", default="word overlap", help='such as "hypothesis only"')
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--output", default="output/behaviour", help="folder for the models")
    arguments = parser.parse_args()

    data = arguments.data or reasoner.synthetic.nli_pack(train=600, validation=90, test=150)
    sets = reasoner.synthetic.contrast_pack(sets=30)
    for name, settings in {"plain": {}, "debiased": {"debias": arguments.debias}}.items():
        result = reasoner.fine_tune(
            arguments.model,
            data,
            task="nli",
            num_train_epochs=arguments.epochs,
            evaluate_before=False,
            output_dir=Path(arguments.output) / name,
            **settings,
        )
        print(f"\n{name}: accuracy {result.metrics['test']['accuracy']:.4f}\n")
        print(reasoner.heuristics(result, arguments.hans), end="\n\n")
        print(reasoner.contrast(result, sets, sets="set"), end="\n\n")
        print(reasoner.checklist(result, arguments.tests))


if __name__ == "__main__":
    main()
