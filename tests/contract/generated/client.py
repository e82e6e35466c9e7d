"""Checks of the client that openapi-python-client makes of openapi.yaml: `client.py FOLDER ADDRESS PICTURE`.

FOLDER holds the package `made`. Prints a line for each check; ends by an assertion otherwise.
"""

import base64
import io
import sys
from pathlib import Path

sys.path.insert(0, sys.argv[1])

from made import AuthenticatedClient
from made.api.files import delete_file, list_files, upload_file
from made.api.inference import create_chat_completion, create_embeddings, generate
from made.models import ChatBody, EmbedBody, Error, GenerateBody, ImagePart, Link, Message, MessageRole, TextPart
from made.models.upload_file_body import UploadFileBody
from made.types import File

client = AuthenticatedClient(base_url=sys.argv[2], token="none", timeout=60)
picture = Path(sys.argv[3]).read_bytes()


def file() -> File:
    return File(payload=io.BytesIO(picture), file_name="picture.png", mime_type="image/png")


link = Link(url=f"data:image/png;base64,{base64.b64encode(picture).decode()}")
parts = [ImagePart(type_="image_url", image_url=link), TextPart(type_="text", text="What is this?")]
question = Message(role=MessageRole.USER, content=parts)
answer = create_chat_completion.sync(client=client, body=ChatBody(messages=[question], max_tokens=3, stream=False))
assert answer.choices[0].message.content.startswith("<image:"), answer
assert answer.usage.prompt_tokens_details.image_items == 1
sys.stdout.write("chat\n")

answer = generate.sync(client=client, body=GenerateBody(prompt="What is this?", image=[file()], max_tokens=3))
assert answer.choices[0].message.content.startswith("<image:"), answer
sys.stdout.write("generate\n")

found = create_embeddings.sync(client=client, body=EmbedBody(input_=["a dog", "a cat"]))
assert [abs(sum(x * x for x in row.embedding) - 1) < 1e-3 for row in found.data] == [True, True]
sys.stdout.write("embeddings\n")

kept = upload_file.sync(client=client, body=UploadFileBody(file=file(), purpose="vision"))
assert kept.bytes_ == len(picture)
assert kept.id in [one.id for one in list_files.sync(client=client).data]
assert delete_file.sync(kept.id, client=client).deleted
sys.stdout.write("files\n")

refused = create_chat_completion.sync(client=client, body=ChatBody(messages=[question], temperature=101))
assert isinstance(refused, Error), refused
assert refused.error.param == "temperature"
sys.stdout.write("errors\n")
