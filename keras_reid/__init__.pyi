from . import artifacts as artifacts
from . import data as data
from . import evaluation as evaluation
from . import losses as losses
from . import models as models
from . import reports as reports
from . import serving as serving
from . import training as training
from .models import build_embedder as build_embedder
from .training import TripletTrainer as TripletTrainer

__version__: str
