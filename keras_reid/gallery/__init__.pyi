from .gallery import Gallery as Gallery
from .results import Added as Added
from .results import Forgotten as Forgotten
from .results import Identification as Identification
from .results import SearchResult as SearchResult
