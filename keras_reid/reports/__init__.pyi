from .attention import attention_maps as attention_maps
from .attention import overlay as overlay
from .embedding_map import map_embeddings as map_embeddings
from .page import Record as Record
from .page import write_page as write_page
from .sheets import draw_attention as draw_attention
from .sheets import draw_ranked_lists as draw_ranked_lists
from .tracks_page import write_tracks_page as write_tracks_page
