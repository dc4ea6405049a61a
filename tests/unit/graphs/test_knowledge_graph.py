"""Does the graph keep triples with their evidence, answer SPARQL, and take what a model completes?"""

from __future__ import annotations

import pytest

from reasoner.errors import DataError
from reasoner.graphs import KnowledgeGraph, Triple, extract_triples

pytest.importorskip("rdflib", reason="the extra 'graph' is not installed")

FIRST = Triple(
    head="Maria Silva", relation="works for", tail="Norvex Ltd", evidence="Norvex Ltd hired Maria Silva.", score=0.9
)
SECOND = Triple(head="Norvex Ltd", relation="based in", tail="Oslo", evidence="Norvex Ltd is in Oslo.", score=0.8)
AGAIN = Triple(
    head="Maria Silva", relation="works for", tail="Norvex Ltd", evidence="Maria Silva left for work.", score=0.6
)
TWO_STEPS = "SELECT ?who ?where WHERE { ?who r:works_for ?firm . ?firm r:based_in ?where }"


def test_a_question_over_two_triples_is_answered_and_has_its_evidence():
    graph = KnowledgeGraph([FIRST, SECOND, AGAIN])
    assert len(graph) == 2
    assert graph.query(TWO_STEPS) == [{"who": "Maria Silva", "where": "Oslo"}]
    assert graph.evidence("Maria Silva", "works for", "Norvex Ltd") == [FIRST, AGAIN]
    texts = graph.query("SELECT ?text WHERE { ?s rdf:subject e:Norvex_Ltd ; about:evidence ?text }")
    assert texts == [{"text": "Norvex Ltd is in Oslo."}]
    graph.add([FIRST])
    assert graph.evidence("Maria Silva", "works for", "Norvex Ltd") == [FIRST, AGAIN]


def test_names_that_look_alike_stay_apart():
    graph = KnowledgeGraph()
    names = ["a b", "a_b", "a%20b", "a/b", "<a>", 'a"b', "Zürich ", "Zürich"]
    graph.add(Triple(head=text, relation="is", tail="x y") for text in names)
    assert sorted(row["head"] for row in graph.triples()) == sorted(names)
    assert len(graph.query("SELECT ?x WHERE { ?x r:is e:x_y }")) == len(names)


def test_saved_and_loaded_it_is_the_same(tmp_path):
    graph = KnowledgeGraph([FIRST, SECOND, AGAIN])
    graph.save(tmp_path / "graph.ttl")
    loaded = KnowledgeGraph.load(tmp_path / "graph.ttl")
    assert loaded.triples() == graph.triples() and loaded.query(TWO_STEPS) == graph.query(TWO_STEPS)
    assert loaded.evidence("Maria Silva", "works for", "Norvex Ltd") == [FIRST, AGAIN]
    (tmp_path / "bad.ttl").write_text("this is no graph")
    for name in ("bad.ttl", "none.ttl"):
        with pytest.raises(DataError, match="no graph that can be read"):
            KnowledgeGraph.load(tmp_path / name)


@pytest.mark.parametrize(
    ("sparql", "what"),
    [
        ("SELECT nothing", "cannot be read"),
        ("ASK { ?a ?b ?c }", "takes SELECT queries"),
        ("SELECT ?a WHERE { SERVICE <http://localhost:1/> { ?a ?b ?c } }", "another server"),
        ("SELECT ?a FROM <http://localhost:1/> WHERE { ?a ?b ?c }", "another server"),
        ("INSERT DATA { e:a r:b e:c }", "cannot be read"),
    ],
)
def test_queries_that_are_refused(sparql, what):
    with pytest.raises(DataError, match=what):
        KnowledgeGraph([FIRST]).query(sparql)


class Answers:
    """A model that gives what it was made with, one answer an input."""

    def __init__(self, answer):
        self.answer = answer

    def predict(self, inputs):
        return [self.answer(value) for value in inputs] if isinstance(inputs, list) else self.answer(inputs)


def test_the_best_new_answer_completes_the_graph_and_has_no_text():
    graph = KnowledgeGraph([FIRST, SECOND])
    named = [
        {"entity": "Norvex Ltd", "score": 0.5, "known": False},
        {"entity": "Maria Silva", "score": 0.3, "known": False},
        {"entity": "Lima", "score": 0.15, "known": True},
        {"entity": "Oslo", "score": 0.05, "known": False},
    ]
    model = Answers(lambda question: {"tails": named, "heads": named})
    question = {"head": "Maria Silva", "relation": "works for"}
    assert graph.complete(model, [question], min_score=0.1) == [] and len(graph) == 2
    (added,) = graph.complete(model, [question], min_score=0.01)
    assert added == Triple(**question, tail="Oslo", score=0.05)
    assert graph.evidence("Maria Silva", "works for", "Oslo") == [added] and added.evidence == ""
    (head,) = graph.complete(model, [{"relation": "based in", "tail": "Oslo"}], min_score=0.01)
    assert head.head == "Maria Silva"


def test_an_empty_part_is_refused():
    with pytest.raises(DataError, match="empty part"):
        KnowledgeGraph([Triple(head=" ", relation="r", tail="t")])


def test_triples_are_asked_for_in_both_directions_of_allowed_types():
    text = "Maria works for Norvex in Oslo."
    entities = [{"word": word, "entity_group": kind, "start": text.index(word), "end": text.index(word) + len(word)}
                for word, kind in (("Maria", "PER"), ("Norvex", "ORG"), ("Oslo", "LOC"))]  # fmt: skip
    asked = []

    def say(pair):
        head, tail = (text[slice(*pair[side])] for side in ("head", "tail"))
        asked.append((head, tail))
        sure = {("Maria", "Norvex"): ("works for", 0.9), ("Norvex", "Oslo"): ("based in", 0.4)}
        label, score = sure.get((head, tail), ("no relation", 0.99))
        return {"label": label, "score": score}

    ner, relation = Answers(lambda given: entities), Answers(say)
    (found,) = extract_triples([text], ner=ner, relation=relation)
    assert found == Triple(head="Maria", relation="works for", tail="Norvex", evidence=text, score=0.9)
    assert len(asked) == 6
    asked.clear()
    assert len(extract_triples([text], ner=ner, relation=relation, min_score=0.3, types=[("ORG", "LOC")])) == 1
    assert asked == [("Norvex", "Oslo")]
    assert extract_triples([], ner=ner, relation=relation) == []
