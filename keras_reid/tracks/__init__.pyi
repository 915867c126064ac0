from .tracks_file import Tracks as Tracks
from .tracks_file import read_tracks as read_tracks
from .tracks_file import write_tracks as write_tracks
