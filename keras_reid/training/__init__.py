"""Training an embedder: the trainer and its train_step, augmentation, schedules, precision, run folder, checkpoints."""

from keras_reid._lazy import lazy_attributes

__all__ = [
    "Checkpoints",
    "CollapseDoctor",
    "DeviceAugmentation",
    "TrinetSchedule",
    "TripletTrainer",
    "build_augmentation",
    "build_optimizer",
    "resolve_precision",
]

__getattr__, __dir__ = lazy_attributes(
    __name__,
    {
        "Checkpoints": ".checkpoints",
        "CollapseDoctor": ".diagnosis",
        "DeviceAugmentation": ".augmentation",
        "TrinetSchedule": ".optimizers",
        "TripletTrainer": ".trainer",
        "build_augmentation": ".augmentation",
        "build_optimizer": ".optimizers",
        "resolve_precision": ".precision",
    },
)
