"""python -m keras_reid.train --flagfile=market.flags: trains an embedder, evaluates it, exports it, scores the exports.

Everything of the run lies in --run_dir; the same command goes on where the run stopped. Flags given later override
those of the flagfile, which is looked up as given and then in configs/.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence

from keras_reid import command, options
from keras_reid.training.run import Run
from keras_reid.training.settings import Settings


def train(flags: command.Flags) -> None:
    Run(read_settings(flags), **command.given(flags, "resume", "allow_flag_changes")).train()


def read_settings(flags: command.Flags) -> Settings:
    """Returns the settings that parsed flags of `train` give."""
    return Settings(**command.given(flags, *(field.name for field in dataclasses.fields(Settings))))


def main(argv: Sequence[str] | None = None) -> int:
    return command.run_command(train, options.train_flags(), argv)


if __name__ == "__main__":
    sys.exit(main())
