"""Opening what was shipped: any format becomes one thing that embeds images; `reid.json` says what it is."""

from keras_reid._lazy import lazy_attributes

__all__ = ["Artifact", "artifact_of", "describe_embedder", "embed_files", "open_artifact"]

__getattr__, __dir__ = lazy_attributes(
    __name__,
    {
        "Artifact": ".artifact",
        "artifact_of": ".artifact",
        "describe_embedder": ".metadata",
        "embed_files": ".artifact",
        "open_artifact": ".artifact",
    },
)
