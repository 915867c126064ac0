"""Evaluation: retrieval metrics on embeddings, the score of an artifact on a catalog, the Keras callback, tables."""

from keras_reid._lazy import lazy_attributes

_WHERE = {
    "Embedded": ".embedded",
    "ReferenceModel": ".reference",
    "Report": ".report",
    "RetrievalEvaluation": ".callback",
    "RetrievalResult": ".results",
    "Score": ".score",
    "VerificationResult": ".verification",
    "confidence_intervals": ".uncertainty",
    "embed_catalog": ".embedding",
    "evaluate_distances": ".ranking",
    "evaluate_retrieval": ".ranking",
    "evaluate_single_gallery_shot": ".single_shot",
    "expand_queries": ".reranking",
    "mean_color_artifact": ".embedding",
    "paired_differences": ".uncertainty",
    "pool_embeddings": ".pooling",
    "rerank": ".reranking",
    "scores_table": ".tables",
    "verify": ".verification",
}
__all__ = sorted(_WHERE)

__getattr__, __dir__ = lazy_attributes(__name__, _WHERE)
