"""Search for the settings that score best on validation, then train with them and score once on test.

    python examples/search.py
    python examples/search.py --data FOLDER --task nli --trials 40 --output output/search

FOLDER holds train, validation and test files, as fine_tune reads them. Without it a small generated data set is used,
without --model the embedded MiniLM. Killed and started again it goes on; started twice at once, both share the trials.
"""

import argparse

import reasoner


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="folder with split files, or a Hub id")
    parser.add_argument("--task", default="nli", help="of the data: ner, nli, classification, qa, multiple_choice")
    parser.add_argument("--method", default="full", help="registered name")
    parser.add_argument("--model", help="Hub id or folder")
    parser.add_argument("--trials", type=int, default=8)
    parser.add_argument("--output", default="output/search", help="folder for the study and the best setting")
    arguments = parser.parse_args()

    found = reasoner.search(
        arguments.model,
        arguments.data or reasoner.synthetic.nli_pack(train=300, validation=100, test=100),
        task=arguments.task if arguments.data else "nli",
        method=arguments.method,
        n_trials=arguments.trials,
        output_dir=arguments.output,
        train_best=True,  # once more with the best setting, and on test
    )
    print(f"\n{found}\n")
    if found.path is not None:  # the file is all that another program needs
        best = reasoner.read_settings(found.path)
        print(f"fine_tune(..., **read_settings('{found.path}')) trains with", best["method"])
        print(
            f"at a learning rate of {best['config'].learning_rate:.2g}. The model is in {arguments.output}/best_model."
        )


if __name__ == "__main__":
    main()
