"""Train a model that finds the answer to a question in a text, or says that there is none.

    python examples/qa.py --squad dev-v2.0.json --train-articles 13 --test-articles 3

A SQuAD file (v1.1 or v2.0) is cut by article, so that no text is on both sides: the first ones train, the last test.
Without a file it trains on a small generated data set. Without --model it uses the embedded MiniLM.
"""

import argparse

import reasoner


def train(data: dict, *, model: str | None = None, output: str | None = None, **settings: object) -> reasoner.Result:
    defaults = {"num_train_epochs": 2, "learning_rate": 1e-4, "max_length": 384, "stride": 128}
    return reasoner.fine_tune(model, data, task="qa", output_dir=output, **{**defaults, **settings})


def split_by_article(path: str, train_articles: int, test_articles: int) -> dict[str, list[dict]]:
    """Return the questions of the first articles as train, of the last as test, of those between as validation."""
    rows = [dict(row.columns) for row in reasoner.read_rows(path)]
    titles = list(dict.fromkeys(row["title"] for row in rows))
    split_of = dict.fromkeys(titles, "validation")
    split_of |= dict.fromkeys(titles[:train_articles], "train") | dict.fromkeys(titles[-test_articles:], "test")
    splits: dict[str, list[dict]] = {}
    for row in rows:
        splits.setdefault(split_of[row["title"]], []).append(row)
    return splits


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--squad", help="a SQuAD JSON file")
    parser.add_argument("--train-articles", type=int, default=13)
    parser.add_argument("--test-articles", type=int, default=3)
    parser.add_argument("--model", help="Hub id or folder")
    parser.add_argument("--output", default="output/qa", help="folder for the model")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    if arguments.squad:
        data = split_by_article(arguments.squad, arguments.train_articles, arguments.test_articles)
    else:
        data = reasoner.synthetic.qa_pack(train=600)
    result = train(data, model=arguments.model, output=arguments.output, seed=arguments.seed)

    print(result.report())
    context = "The lighthouse was built in 1862 by Ada Brandt. It was painted white in 1910."
    for question in ("Who built the lighthouse?", "Who sold the lighthouse?"):
        prediction = result.predict({"question": question, "context": context})
        print(f"{question}  {prediction['answer'] or '(no answer)'}  ({prediction['score']:.2f})")


if __name__ == "__main__":
    main()
