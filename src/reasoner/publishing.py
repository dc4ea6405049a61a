"""How does a model folder get to the Hugging Face Hub?"""

from __future__ import annotations

from pathlib import Path

from reasoner.errors import CheckpointError, ConfigError

UPLOADED = ("*.safetensors", "*.json", "*.txt", "*.model", "*.jinja", "README.md")
"""What a saved folder is made of: weights, settings, the tokenizer's files, the card. Nothing else is pushed."""


def check_base(name: str) -> None:
    """Refuse a base model that nobody else has.

    Args:
        name: where the base model is: a Hub id, or a folder of this machine.

    Raises:
        ConfigError: if it is a folder.
    """
    if Path(name).expanduser().exists() or Path(name).is_absolute():
        raise ConfigError(
            f"The base model '{name}' is a folder here, which nobody else has, and only what the method added "
            "would be pushed. Push what merge() gives, or train from a model that is on the Hub."
        )


def upload(
    folder: Path,
    repo_id: str,
    *,
    private: bool | None,
    token: str | bool | None,
    revision: str | None,
    message: str,
    endpoint: str | None,
) -> str:
    """Make a repository on the Hub if there is none, and write the files of a folder into it, as one commit.

    Returns:
        The address of the repository.

    Raises:
        CheckpointError: if the Hub refuses, or is not reached.
    """
    from huggingface_hub import HfApi

    api = HfApi(endpoint=endpoint, token=token)
    try:
        made = api.create_repo(repo_id, private=private, exist_ok=True)
        if revision is not None:
            api.create_branch(made.repo_id, branch=revision, exist_ok=True)
        api.upload_folder(
            repo_id=made.repo_id,
            folder_path=folder,
            revision=revision,
            commit_message=message,
            allow_patterns=list(UPLOADED),
        )
    except Exception as error:  # the client's versions stand on different libraries, each with errors of its own
        said = " ".join(str(error).split())
        raise CheckpointError(
            f"The model was not pushed to '{repo_id}': {said}. A token with the right to write comes from "
            "`hf auth login`, from HF_TOKEN, or as token=..."
        ) from error
    return str(made)
