"""Training an embedder: the trainer and its train_step, augmentation, schedules, precision, run folder, checkpoints."""

from keras_reid._lazy import lazy_attributes

__all__ = [
    "Checkpoints",
    "CollapseDoctor",
    "CosineSchedule",
    "DeviceAugmentation",
    "FreezeBackbone",
    "Run",
    "Settings",
    "StepSchedule",
    "TrinetSchedule",
    "TripletTrainer",
    "build_augmentation",
    "build_optimizer",
    "build_schedule",
    "resolve_precision",
]

__getattr__, __dir__ = lazy_attributes(
    __name__,
    {
        "Checkpoints": ".checkpoints",
        "CollapseDoctor": ".diagnosis",
        "CosineSchedule": ".schedules",
        "DeviceAugmentation": ".augmentation",
        "FreezeBackbone": ".layer_rates",
        "Run": ".run",
        "Settings": ".settings",
        "StepSchedule": ".schedules",
        "TrinetSchedule": ".schedules",
        "TripletTrainer": ".trainer",
        "build_augmentation": ".augmentation",
        "build_optimizer": ".optimizers",
        "build_schedule": ".schedules",
        "resolve_precision": ".precision",
    },
)
