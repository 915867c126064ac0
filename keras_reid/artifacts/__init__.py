"""Opening what was shipped: any format becomes one thing that embeds images; `reid.json` says what it is."""

from keras_reid._lazy import lazy_attributes

__all__ = [
    "CALIBRATED",
    "Artifact",
    "SavedEmbeddings",
    "artifact_of",
    "describe_embedder",
    "embed_files",
    "embed_in_parts",
    "image_views",
    "on_devices",
    "open_artifact",
    "read_embeddings",
    "remove_parts",
    "update_metadata",
    "write_embeddings",
]

__getattr__, __dir__ = lazy_attributes(
    __name__,
    {
        "Artifact": ".artifact",
        "CALIBRATED": ".metadata",
        "SavedEmbeddings": ".embeddings_file",
        "artifact_of": ".artifact",
        "describe_embedder": ".metadata",
        "embed_files": ".artifact",
        "embed_in_parts": ".embedding_job",
        "image_views": ".views",
        "on_devices": ".artifact",
        "open_artifact": ".artifact",
        "read_embeddings": ".embeddings_file",
        "remove_parts": ".embedding_job",
        "signature_outputs": ".artifact",
        "update_metadata": ".metadata",
        "write_embeddings": ".embeddings_file",
    },
)
