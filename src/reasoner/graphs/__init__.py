"""Knowledge graphs: triples from text, a graph that keeps them with their evidence, and what completes it."""

from __future__ import annotations

from reasoner.graphs.reranking import Reranker, rerank
from reasoner.graphs.store import KnowledgeGraph
from reasoner.graphs.triples import Triple, extract_triples

__all__ = ["KnowledgeGraph", "Reranker", "Triple", "extract_triples", "rerank"]
