from .job import embed_tracks as embed_tracks
from .recordings import Recording as Recording
from .recordings import read_recordings as read_recordings
from .recordings import recordings_of as recordings_of
from .tracks_file import Tracks as Tracks
from .tracks_file import read_tracks as read_tracks
from .tracks_file import write_tracks as write_tracks
