"""Scoring: retrieval metrics on embeddings, artifacts on a catalog, the Keras callback, tables of scores."""

from keras_reid._lazy import lazy_attributes

__all__ = [
    "RetrievalEvaluation",
    "RetrievalResult",
    "evaluate_artifact",
    "evaluate_retrieval",
    "mean_colour_artifact",
    "scores_table",
]

__getattr__, __dir__ = lazy_attributes(
    __name__,
    {
        "RetrievalEvaluation": ".callback",
        "RetrievalResult": ".results",
        "evaluate_artifact": ".scoring",
        "evaluate_retrieval": ".ranking",
        "mean_colour_artifact": ".scoring",
        "scores_table": ".scoring",
    },
)
