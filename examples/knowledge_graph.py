"""From text to triples to an answer with its evidence, and to what no text says.

    python examples/knowledge_graph.py

Entities and relations are learned on generated sentences. A small world is then told in sentences whose names and
forms are new; what they state goes into a graph, which is asked by SPARQL; where four of its people work, no sentence
says, and link prediction completes it. Needs the extra `graph`. Without --model it uses the embedded MiniLM.
"""

import argparse
from pathlib import Path

import reasoner

QUESTION = """
SELECT ?person ?firm WHERE { ?person r:works_for ?firm . ?firm r:based_in ?place . ?place rdfs:label "PLACE" }
"""


def read(texts: list[str], *, model: str | None, folder: Path, rows: int, seed: int) -> list[reasoner.Triple]:
    """Train both models, and return the triples that they find in the texts."""
    pack = reasoner.synthetic.relation_pack(train=rows, validation=100, test=100)
    settings = {"num_train_epochs": 3, "learning_rate": 3e-4, "evaluate_before": False, "seed": seed}
    found = {}
    for task in ("ner", "relation"):
        found[task] = reasoner.fine_tune(model, pack, task=task, output_dir=folder / task, **settings)
        primary = found[task].predictor.task.primary_metric
        print(f"{task}: {primary} {found[task].metrics['test'][primary]:.3f} on sentences with new names and forms")
    types = [("PER", "ORG"), ("PER", "LOC"), ("ORG", "LOC")]
    return reasoner.extract_triples(texts, ner=found["ner"], relation=found["relation"], types=types)


def ask(graph: reasoner.KnowledgeGraph, place: str) -> None:
    """Print who works for a firm in a place, and the sentences from which that follows."""
    print(f"Who works for a firm in {place}?")
    for row in graph.query(QUESTION.replace("PLACE", place)):
        print(f"  {row['person']}, for {row['firm']}")
        for steps in ((row["person"], "works for", row["firm"]), (row["firm"], "based in", place)):
            print(*(f"    {triple.evidence} ({triple.score:.2f})" for triple in graph.evidence(*steps)), sep="\n")


def complete(graph: reasoner.KnowledgeGraph, untold: list[dict], *, model: str | None, epochs: int, seed: int) -> None:
    """Learn from the graph, add where people work whose sentence is missing, and print it beside the truth."""
    known = graph.triples()
    links = reasoner.fine_tune(
        model, {"train": known, "validation": known}, task="link_prediction", learning_rate=3e-4,
        num_train_epochs=epochs, eval_steps=10_000, seed=seed, evaluate_before=False,
    )  # fmt: skip
    truth = {row["head"]: row["tail"] for row in untold}
    questions = [{"head": person, "relation": "works in"} for person in truth]
    for triple in graph.complete(links, questions, min_score=0.0):
        right = "right" if triple.tail == truth[triple.head] else f"wrong, it is {truth[triple.head]}"
        print(f"  {triple.head} works in {triple.tail} ({triple.score:.2f}, no text says so): {right}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="Hub id or folder")
    parser.add_argument(
        "--output", type=Path, default=Path("output/knowledge_graph"), help="folder for models and graph"
    )
    parser.add_argument("--rows", type=int, default=800, help="generated sentences to learn from")
    parser.add_argument("--epochs", type=int, default=40, help="of link prediction, on the few triples of the graph")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    world = reasoner.synthetic.told_world(seed=arguments.seed)
    texts = [row["text"] for row in world["told"]]
    triples = read(texts, model=arguments.model, folder=arguments.output, rows=arguments.rows, seed=arguments.seed)
    true = {(row["head"], row["relation"], row["tail"]) for row in world["told"]}
    found = {(triple.head, triple.relation, triple.tail) for triple in triples}
    print(
        f"{len(texts)} sentences state {len(true)} triples; {len(found)} were found, {len(found & true)} of them right"
    )
    graph = reasoner.KnowledgeGraph(triples)
    graph.save(arguments.output / "graph.ttl")
    if len(graph) < 4:
        raise SystemExit("These are too few to go on with. Train on more --rows.")
    ask(graph, next(row["tail"] for row in world["told"] if row["relation"] == "based in"))
    complete(graph, world["untold"], model=arguments.model, epochs=arguments.epochs, seed=arguments.seed)
    graph.save(arguments.output / "graph.ttl")


if __name__ == "__main__":
    main()
