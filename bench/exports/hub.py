"""Uploads an exported folder to the Hugging Face hub, when asked twice."""

import os
from collections.abc import Iterator
from typing import Any

from bench.errors import UserError
from bench.exports import Export
from bench.exports.folder import files_in

TOKEN = "HF_TOKEN"


def token() -> str:
    """The hub's token, from the environment alone.

    Raises:
        UserError: there is none.
    """
    found = os.environ.get(TOKEN, "").strip()
    if not found:
        raise UserError(
            f"{TOKEN} is not set: nothing was uploaded; put a token that may write into that "
            "variable of the environment"
        )
    return found


def check_repository(name: str) -> None:
    """Raises `UserError` for what is not OWNER/NAME in the hub's letters."""
    from bench.readers import is_hub_id

    if name.count("/") != 1 or not is_hub_id(name):
        raise UserError(f"--push {name!r}: OWNER/NAME is needed, as on the hub")


def plan(export: Export, repository: str) -> Iterator[str]:
    """What an upload would do, a line each; touches no network."""
    files = files_in(export.folder)
    sizes = [path.stat().st_size for path in files]
    yield (
        f"{len(files)} files, {sum(sizes):,} bytes, to the {export.repository} repository "
        f"{repository} (made, private, if there is none):"
    )
    for path, size in zip(files, sizes, strict=True):
        yield f"  {size:>13,}  {path.relative_to(export.folder).as_posix()}"


def upload(export: Export, repository: str) -> str:
    """Uploads the files that `plan` names in one commit; returns the commit's address.

    Raises:
        UserError: no token, or the hub refuses; the message never holds the token.
    """
    secret = token()
    from huggingface_hub import HfApi

    api = HfApi(token=secret)
    where: dict[str, Any] = {"repo_id": repository, "repo_type": export.repository}
    try:
        api.create_repo(**where, private=True, exist_ok=True)
        done = api.upload_folder(**where, folder_path=export.folder, commit_message="fewgen export")
    except Exception as error:  # whatever the hub, the network or the client may raise
        reason = " ".join(str(error).replace(secret, "***").split())[:300]
        raise UserError(f"{repository}: {type(error).__name__}: {reason}") from None
    return str(done)
