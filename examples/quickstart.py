"""From labelled sentences to a model that finds names: train, compare, save, load and use it.

    python examples/quickstart.py

What `make demo` runs. The model is the embedded MiniLM, the data are generated: nothing is downloaded.
"""

import time

import reasoner

FOLDER = "demo_output/model"
PLOT = "demo_output/learning_curve.png"
SENTENCES = [
    "Amelia Novak left the Bank of Porto in March 2019 and now lives in Oslo.",
    "On 4 May the mayor of Nairobi met Peter Olsen, who leads Harbour Systems.",
    "May I borrow the map of the old bank by the river?",
]


def main() -> None:
    # Each row is {"tokens": [...], "ner_tags": [...]}. A path to your own CoNLL file may stand in its place.
    data = reasoner.synthetic.ner_pack(train=400, validation=100, test=100)
    row = data["train"][0]
    print("One of the training sentences:", *map("/".join, zip(row["tokens"], row["ner_tags"], strict=True)), "\n")

    started = time.perf_counter()
    result = reasoner.fine_tune(
        None,  # the embedded model; a Hub id or a folder may stand here
        data,
        task="ner",
        output_dir=FOLDER,
        num_train_epochs=4,
        learning_rate=2e-4,
    )
    print(f"\nTrained and scored in {time.perf_counter() - started:.0f} seconds.\n\n{result.report()}\n")
    result.plot(PLOT)

    # The folder is all that is needed: here it is read back, as another program would read it.
    loaded = reasoner.load(FOLDER)
    for sentence, entities in zip(SENTENCES, loaded.predict(SENTENCES), strict=True):
        print(sentence)
        if not entities:
            print("    (no names)")
        for entity in entities:
            print(f"    {entity['entity_group']:5} {entity['score']:.2f}  {entity['word']}")
    print("\nThe loaded model predicts the same:", loaded.predict(SENTENCES) == result.predict(SENTENCES))
    print(f"Model folder: {FOLDER}/   learning curve: {PLOT}")


if __name__ == "__main__":
    main()
