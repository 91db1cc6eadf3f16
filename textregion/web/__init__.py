"""A page to look at a picture's regions and to ask for words; needs the extra ``textregion[web]``."""

from .app import create_app
from .desk import Limits
from .guard import is_loopback
from .pictures import find_pictures
from .server import address, listen, server

__all__ = ["Limits", "address", "create_app", "find_pictures", "is_loopback", "listen", "server"]
