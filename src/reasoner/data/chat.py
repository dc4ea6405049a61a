"""How do the messages of a chat become the text that a decoder goes on with?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from reasoner.data.examples import RowError
from reasoner.errors import ConfigError, DataError
from reasoner.notices import count, say

USER, ASSISTANT, SYSTEM = "user", "assistant", "system"
PLAIN_TEMPLATE = (
    "{% for message in messages %}{{ message['role'] | capitalize }}:\n{{ message['content'] }}\n\n{% endfor %}"
    "{% if add_generation_prompt %}Assistant:\n{% endif %}"
)
"""For tokenizers that have no template: the role and a colon, on the next lines the message, and an empty line."""
_OTHER_NAMES = {"human": USER, "gpt": ASSISTANT}
"""Roles of files in the form of ShareGPT, whose fields are `from` and `value`."""


class Message(NamedTuple):
    """What one side of a chat says."""

    role: str
    """Such as "system", "user" or "assistant"."""
    content: str


def read_messages(value: Any) -> tuple[Message, ...]:
    """Read a list of `{"role", "content"}`; `{"from", "value"}` is understood too.

    Raises:
        RowError: if it is something else, or a message has no text.
    """
    if not isinstance(value, (list, tuple)) or not value:
        raise RowError("messages is no list of messages", 'Give [{"role": "user", "content": "..."}, ...].')
    messages = []
    for place, item in enumerate(value, start=1):
        if isinstance(item, Mapping) and "role" not in item and "from" in item:
            item = {"role": _OTHER_NAMES.get(item["from"], item["from"]), "content": item.get("value")}
        role, content = (item.get("role"), item.get("content")) if isinstance(item, Mapping) else (None, None)
        if not isinstance(role, str) or not role.strip():
            raise RowError(f"message {place} has no role", 'Give {"role": "user", "content": "..."}.')
        if not isinstance(content, str) or not content.strip():
            raise RowError(f"message {place} ({role}) has no text", "Give its content as text, or leave the row out.")
        if any(item[name] for name in item.keys() - {"role", "content"}):
            count("{n} messages have more than a role and a content, which is not read.")
        messages.append(Message(role, content))
    return tuple(messages)


def chat_text(tokenizer: Any, messages: Sequence[Message], *, where: str = "", answer: bool = True) -> str:
    """Return messages in the form of the tokenizer's template, or of `PLAIN_TEMPLATE`.

    Args:
        tokenizer: the model's.
        messages: of the chat so far.
        where: what messages of errors say first.
        answer: end it with what stands before the assistant's answer.

    Raises:
        DataError: if the template refuses these messages: the order of their roles, say.
    """
    from jinja2 import TemplateError

    template = tokenizer.chat_template
    if not template:
        template = PLAIN_TEMPLATE
        say("The tokenizer has no chat template: a message stands below its role and a colon, with an empty line after "
            "it.")  # fmt: skip
    turns = [message._asdict() for message in messages]
    try:
        text: str = tokenizer.apply_chat_template(
            turns, chat_template=template, tokenize=False, add_generation_prompt=answer
        )
    except (TemplateError, ValueError, TypeError) as error:
        roles = ", ".join(message.role for message in messages)
        place = f"{where}: " if where else ""
        raise DataError(f"{place}the tokenizer's chat template refuses messages of {roles}: {error}") from None
    return text


def end_of_turn(tokenizer: Any) -> int:
    """Return the token with which the assistant's answer ends in the tokenizer's template, or else its end token.

    Raises:
        ConfigError: if it has none.
    """
    if tokenizer.eos_token_id is None:
        raise ConfigError(
            f"The tokenizer of '{tokenizer.name_or_path}' has no end token, so that no model could learn where to "
            "stop. Give one whose eos_token is set: fine_tune(..., tokenizer=...)."
        )
    mark = "reasoner"
    if tokenizer.chat_template:
        try:
            text = chat_text(tokenizer, [Message(USER, "?"), Message(ASSISTANT, mark)], answer=False)
        except DataError:
            text = ""
        after = tokenizer(text.rpartition(mark)[2], add_special_tokens=False)["input_ids"]
        known = tokenizer.added_tokens_decoder
        special = [token for token in after if token in known and known[token].special]
        if special:
            return int(special[0])
    return int(tokenizer.eos_token_id)
