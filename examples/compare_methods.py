"""Compare ways to tune on the same rows with the same budget: a table, and a plot of score against cost.

    python examples/compare_methods.py
    python examples/compare_methods.py --data FOLDER --task ner --methods full head freeze --seeds 0 1 2

FOLDER holds train, validation and test files, as fine_tune reads them. Without it a small generated data set is used,
without --model the embedded MiniLM. Started again with the same --output, it makes only the runs that are missing.
"""

import argparse
from pathlib import Path

import reasoner


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="folder with split files, or a Hub id")
    parser.add_argument("--task", default="ner", help="of the data: ner, nli, classification, qa, multiple_choice")
    parser.add_argument("--methods", nargs="+", help="registered names; without it three are compared")
    parser.add_argument("--model", help="Hub id or folder")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--output", default="output/compare", help="folder for records, table and plot")
    arguments = parser.parse_args()

    if arguments.methods:
        variants = {name: {"method": name} for name in arguments.methods}
    else:
        variants = {
            "full": {"method": "full"},
            "top layers": {"method": reasoner.Freeze(layers=4)},
            "head": {"method": "head"},
            "head, higher rate": {"method": "head", "learning_rate": 5e-3},
        }
    data = arguments.data or reasoner.synthetic.ner_pack(train=300, validation=100, test=100)
    board = reasoner.compare(
        arguments.model,
        data,
        task=arguments.task if arguments.data else "ner",
        variants=variants,
        seeds=arguments.seeds,
        output_dir=arguments.output,
        num_train_epochs=arguments.epochs,
    )

    print(f"\n{board}\n")
    output = Path(arguments.output)
    (output / "table.txt").write_text(f"{board}\n", "utf-8")
    for against, name in (("trainable_share", "pareto.png"), ("seconds", "pareto_time.png")):
        board.plot(output / name, against=against)
    if board.best is not None:
        print(f"Best on validation: {board.best.name}. Records, table and plots: {output}/")


if __name__ == "__main__":
    main()
