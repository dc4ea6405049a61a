"""A graph of triples in rdflib: asked by SPARQL, completed by link prediction, each triple with its evidence."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

from reasoner.errors import ConfigError, DataError
from reasoner.graphs.triples import Predicts, Triple

ENTITY, RELATION, ABOUT = "urn:reasoner:entity:", "urn:reasoner:relation:", "urn:reasoner:about:"
"""What names in the graph begin with: those of entities, of relations, and of what is said about triples."""


class KnowledgeGraph:
    """Triples in an rdflib graph (`graph`), which may be used directly too.

    In queries an entity is `e:Maria_Silva` and a relation `r:works_for`; spaces become underscores, other marks percent
    codes (see `name`). Names and relations have their texts as `rdfs:label`. What a triple rests on is said of a
    statement (RDF's reification): `rdf:subject`, `rdf:predicate`, `rdf:object`, `about:evidence` (the text; none where
    a model completed the graph) and `about:score`.

    Raises:
        ConfigError: if rdflib is not installed.
    """

    def __init__(self, triples: Iterable[Triple] = ()) -> None:
        try:
            import rdflib
        except ImportError as error:
            raise ConfigError("A KnowledgeGraph needs rdflib: pip install 'reasoner-ft[graph]'.") from error
        self.graph: Any = rdflib.Graph()
        for prefix, namespace in (("e", ENTITY), ("r", RELATION), ("about", ABOUT)):
            self.graph.bind(prefix, namespace)
        self.add(triples)

    def __len__(self) -> int:
        """Return how many triples there are, evidence not counted."""
        return len(self.triples())

    def add(self, triples: Iterable[Triple]) -> None:
        """Add triples; one that is there already gets further evidence.

        Raises:
            DataError: if a part of a triple is empty.
        """
        from rdflib import RDF, RDFS, BNode, Literal, URIRef

        for triple in triples:
            if not all(part.strip() for part in (triple.head, triple.relation, triple.tail)):
                raise DataError(f"{triple} has an empty part. Give head, relation and tail as texts.")
            parts = [URIRef(name(triple.head)), URIRef(name(triple.relation, RELATION)), URIRef(name(triple.tail))]
            self.graph.add(tuple(parts))
            for part, text in zip(parts, (triple.head, triple.relation, triple.tail), strict=True):
                self.graph.add((part, RDFS.label, Literal(text)))
            if triple not in self.evidence(triple.head, triple.relation, triple.tail):
                statement = BNode()
                for key, value in zip((RDF.subject, RDF.predicate, RDF.object), parts, strict=True):
                    self.graph.add((statement, key, value))
                self.graph.add((statement, RDF.type, RDF.Statement))
                self.graph.add((statement, URIRef(ABOUT + "score"), Literal(triple.score)))
                if triple.evidence:
                    self.graph.add((statement, URIRef(ABOUT + "evidence"), Literal(triple.evidence)))

    def evidence(self, head: str, relation: str, tail: str) -> list[Triple]:
        """Return the triple once for each text that states it, and once without one where a model completed it."""
        from rdflib import RDF, URIRef

        keys = (RDF.subject, RDF.predicate, RDF.object)
        parts = [URIRef(name(head)), URIRef(name(relation, RELATION)), URIRef(name(tail))]
        found = []
        for statement in self.graph.subjects(RDF.subject, parts[0]):
            if all(self.graph.value(statement, key) == part for key, part in zip(keys, parts, strict=True)):
                text = self.graph.value(statement, URIRef(ABOUT + "evidence"))
                score = self.graph.value(statement, URIRef(ABOUT + "score")).toPython()
                said = "" if text is None else str(text)
                found.append(Triple(head=head, relation=relation, tail=tail, evidence=said, score=score))
        return sorted(found, key=lambda triple: (-triple.score, triple.evidence))

    def triples(self) -> list[dict[str, str]]:
        """Return the triples as rows for `link_prediction`, each once, in order."""
        rows = [
            {"head": self._text(head), "relation": self._text(relation), "tail": self._text(tail)}
            for head, relation, tail in self.graph
            if str(relation).startswith(RELATION)
        ]
        return sorted(rows, key=lambda row: (row["head"], row["relation"], row["tail"]))

    def query(self, sparql: str) -> list[dict[str, Any]]:
        """Return the rows that a SELECT query gives, by variable; entities and relations as their texts.

        Raises:
            DataError: if it is no SELECT query, or one that would ask another server (SERVICE, FROM).
        """
        from rdflib.plugins.sparql import prepareQuery

        prefixes = {"e": ENTITY, "r": RELATION, "about": ABOUT}
        try:
            prepared = prepareQuery(sparql, initNs=prefixes)
        except Exception as error:  # rdflib raises those of its parser, and plain ones
            raise DataError(
                f"The query cannot be read: {error}. Give SPARQL, such as SELECT ?x WHERE {{ ... }}."
            ) from error
        if prepared.algebra.name != "SelectQuery":
            raise DataError("query takes SELECT queries. For others use rdflib's own: graph.graph.query(...).")
        if prepared.algebra.datasetClause or "ServiceGraphPattern" in repr(prepared.algebra):
            raise DataError("The query names another server (SERVICE or FROM). Ask this graph alone.")
        return [
            {str(key): self._python(value) for key, value in row.asdict().items()} for row in self.graph.query(prepared)
        ]

    def complete(self, model: Predicts, questions: Iterable[dict[str, str]], *, min_score: float = 0.5) -> list[Triple]:
        """Ask link prediction for what is missing, add the best new answer of each question, and return those.

        Args:
            model: a model for `link_prediction`.
            questions: `{"head", "relation"}` or `{"relation", "tail"}`.
            min_score: less probable answers are not added. What the model knows as a triple of its data is not new, nor
                is anything that is no candidate of its prediction.
        """
        added, there = [], self.triples()
        for question in questions:
            given = "head" if "head" in question else "tail"
            asked = {"head": "tail", "tail": "head"}[given]
            for candidate in model.predict(question)[f"{asked}s"]:
                row = {**question, asked: candidate["entity"]}
                if candidate["known"] or row in there or candidate["entity"] == question[given]:
                    continue
                if candidate["score"] >= min_score:
                    added.append(Triple(**row, score=candidate["score"]))
                break
        self.add(added)
        return added

    def save(self, path: str | Path) -> None:
        """Write the graph, evidence too, as Turtle."""
        self.graph.serialize(destination=str(path), format="turtle", encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what `save` wrote.

        Raises:
            DataError: if there is no such file, or it is no Turtle.
        """
        made = cls()
        try:
            made.graph.parse(data=Path(path).read_text("utf-8"), format="turtle")
        except (OSError, SyntaxError, ValueError) as error:
            raise DataError(f"'{path}' is no graph that can be read: {error}") from error
        return made

    def _text(self, node: Any) -> str:
        from rdflib import RDFS

        return str(self.graph.value(node, RDFS.label, default=node))

    def _python(self, value: Any) -> Any:
        from rdflib import Literal

        return value.toPython() if isinstance(value, Literal) else self._text(value)


def name(text: str, kind: str = ENTITY) -> str:
    """Return how an entity (or with `kind=RELATION` a relation) is called in the graph: two texts never alike."""
    return kind + quote(text, safe="").replace("_", "%5F").replace("%20", "_")
