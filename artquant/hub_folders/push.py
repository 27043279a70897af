"""A folder to the hub, by its own library."""

from __future__ import annotations

from pathlib import Path

from artquant.errors import ArtQuantError, one_line


def push_folder(folder: Path, name: str) -> str:
    """Put a folder's files into a model repository, which is made if it is not there; the address of the commit.

    The token is the library's affair (`hf auth login`, HF_TOKEN), and never shown.

    Raises:
        ArtQuantError: the hub cannot be reached, or does not take them.
    """
    from huggingface_hub import HfApi, get_token

    try:
        api = HfApi()
        api.create_repo(name, exist_ok=True)
        return str(api.upload_folder(repo_id=name, folder_path=folder, commit_message="Model with its code"))
    except Exception as error:  # no network, no right, a wrong name: each of its own kind in the library
        token = get_token()
        reason = one_line(str(error).replace(token, "...") if token else error)
        raise ArtQuantError(
            f"{folder}: is written, but was not put on the hub as {name} ({reason}); log in (hf auth login) and try "
            f"with a network: hf upload {name} {folder}"
        ) from None
