from .embedder import build_embedder as build_embedder
from .keras_file import load_keras as load_keras
from .keras_file import read_metadata as read_metadata
from .keras_file import save_keras as save_keras
from .precision import rebuild_in_float32 as rebuild_in_float32
from .weight_files import read_backbone_weights as read_backbone_weights
from .weights import WeightReport as WeightReport
from .weights import assign_weights as assign_weights
