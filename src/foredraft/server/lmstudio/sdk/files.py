"""/files: text files that later messages bring along."""

from __future__ import annotations

import base64

from foredraft.chats.attachments import LARGEST, Attachment, AttachmentError, read
from foredraft.core.errors import LimitError
from foredraft.server.context import Services
from foredraft.server.errors import RequestError
from foredraft.server.lmstudio.sdk import shapes
from foredraft.server.lmstudio.sdk.wire import Heard

_WHY = {
    "image": "Images cannot be read here.",
    "document": "Of documents only plain text can be read here.",
    "binary": "This is no text.",
    "empty": "There is nothing in this file.",
}


class Upload(Heard):
    name: str
    content_base64: str


async def upload(services: Services, asked: Upload) -> shapes.Uploaded:
    """Keep a text file."""
    file = await services.pools.bodies.run(_read, asked)
    return shapes.Uploaded(identifier=services.uploads.keep(file), file_type="text/plain", size_bytes=file.size)


def _read(asked: Upload) -> Attachment:
    most = LARGEST * 4 // 3 + 4
    if len(asked.content_base64) > most:
        size = len(asked.content_base64) * 3 // 4
        raise LimitError(f"A file of {size:,} bytes; at most {LARGEST:,} are allowed.", size, LARGEST, status=413)
    try:
        return read(asked.name, base64.b64decode(asked.content_base64, validate=True))
    except ValueError:
        raise RequestError("contentBase64 is not Base64.", param="contentBase64") from None
    except AttachmentError as error:
        raise RequestError(f"{error.name}: {_WHY.get(error.code, str(error))}", param="contentBase64") from None
