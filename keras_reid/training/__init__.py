"""Training an embedder: the trainer and its train_step, schedules, precision, run folder, checkpoints, progress."""

from keras_reid._lazy import lazy_attributes

__all__ = ["Checkpoints", "CollapseDoctor", "TrinetSchedule", "TripletTrainer", "build_optimizer", "resolve_precision"]

__getattr__, __dir__ = lazy_attributes(
    __name__,
    {
        "Checkpoints": ".checkpoints",
        "CollapseDoctor": ".diagnosis",
        "TrinetSchedule": ".optimizers",
        "TripletTrainer": ".trainer",
        "build_optimizer": ".optimizers",
        "resolve_precision": ".precision",
    },
)
