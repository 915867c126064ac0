"""Artifacts: what ships, in any format, opened as one thing that embeds images; `reid.json` inside says what it is."""

from keras_reid._lazy import lazy_attributes

__all__ = [
    "CALIBRATED",
    "Artifact",
    "SavedEmbeddings",
    "artifact_of",
    "augmented_images",
    "describe_embedder",
    "embed_files",
    "embed_in_parts",
    "on_devices",
    "open_artifact",
    "read_embeddings",
    "remove_parts",
    "signature_outputs",
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
        "augmented_images": ".augmentation",
        "describe_embedder": ".metadata",
        "embed_files": ".artifact",
        "embed_in_parts": ".embedding_job",
        "on_devices": ".artifact",
        "open_artifact": ".opening",
        "read_embeddings": ".embeddings_file",
        "remove_parts": ".embedding_job",
        "signature_outputs": ".formats.savedmodel",
        "update_metadata": ".opening",
        "write_embeddings": ".embeddings_file",
    },
)
