"""Makes the golden renderings of `agon-model`: templates, conversations, and the texts that transformers makes of them.

Made with Python 3.11.7, transformers 5.23.0, jinja2 3.1:

    python3 -m venv venv && venv/bin/pip install transformers==5.23.0 jinja2
    venv/bin/python make_chat.py .

The templates are our own, short, and in the manner of those that the families ship: they use what those use of Jinja.
Each folder has `tokenizer_config.json` (or `chat_template.jinja` beside it) and `golden.json`: a list of `messages`,
`opens_answer`, `variables`, and either `text` or `error`.

| folder  | what it covers                                                                                 |
| ------- | ---------------------------------------------------------------------------------------------- |
| llama3  | headers around roles, `trim`, a first message that is special, `strftime_now` if there is one   |
| mistral | roles that must alternate, `raise_exception`, slices, special tokens given as objects           |
| qwen2   | ChatML with a default system text; a list of named templates                                    |
| qwen3   | thoughts cut out of earlier answers: `split`, `strip`, reversed loops, namespaces, `tojson`      |
"""

import json
import shutil
import sys
from pathlib import Path

from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

LLAMA3 = """\
{{- bos_token }}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_text = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_text = "" %}
{%- endif %}
{%- if strftime_now is defined and use_date is defined %}
    {%- set day = strftime_now("%d %b %Y") %}
{%- else %}
    {%- set day = "01 Jan 2024" %}
{%- endif %}
{{- "<|start|>system<|end|>\\n\\nToday: " + day + "\\n\\n" }}
{{- system_text }}
{{- "<|eot|>" }}
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or message.role == 'tool') %}
        {{- '<|start|>' + message['role'] + '<|end|>\\n\\n' + message['content'] | trim + '<|eot|>' }}
    {%- else %}
        {{- "<|start|>ipython<|end|>\\n\\n" }}
        {%- if message.content is mapping or message.content is iterable %}
            {{- message.content | tojson }}
        {%- else %}
            {{- message.content }}
        {%- endif %}
        {{- "<|eot|>" }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start|>assistant<|end|>\\n\\n' }}
{%- endif %}
"""

MISTRAL = """\
{%- if messages[0]["role"] == "system" %}
    {%- set system_message = messages[0]["content"] %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set loop_messages = messages %}
{%- endif %}
{%- set ns = namespace() %}
{%- set ns.index = 0 %}
{%- for message in loop_messages %}
    {%- if (message["role"] == "user") != (ns.index % 2 == 0) %}
        {{- raise_exception("roles must alternate user/assistant, found " + message["role"]) }}
    {%- endif %}
    {%- set ns.index = ns.index + 1 %}
{%- endfor %}

{{- bos_token }}
{%- for message in loop_messages %}
    {%- if message["role"] == "user" %}
        {%- if loop.last and system_message is defined %}
            {{- "[INST] " + system_message + "\\n\\n" + message["content"] + "[/INST]" }}
        {%- else %}
            {{- "[INST] " + message["content"] + "[/INST]" }}
        {%- endif %}
    {%- elif message["role"] == "assistant" %}
        {{- " " + message["content"]|trim + eos_token }}
    {%- else %}
        {{- raise_exception("only user and assistant speak here") }}
    {%- endif %}
{%- endfor %}
"""

QWEN2 = """\
{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system
You are of help.<|im_end|>
' }}{% endif %}{{'<|im_start|>' + message['role'] + '
' + message['content'] + '<|im_end|>' + '
'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant
' }}{% endif %}"""

QWEN3 = """\
{%- if messages[0].role == 'system' %}
    {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
{%- endif %}
{%- set ns = namespace(searching=true, last_query=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.searching and message.role == "user" and message.content is string and not(message.content.startswith('<tool>') and message.content.endswith('</tool>')) %}
        {%- set ns.searching = false %}
        {%- set ns.last_query = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- set content = message.content if message.content is string else '' %}
    {%- if message.role == "user" or (message.role == "system" and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {%- set thought = '' %}
        {%- if '</think>' in content %}
            {%- set thought = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
            {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
        {%- endif %}
        {%- if loop.index0 > ns.last_query and (loop.last or thought) %}
            {{- '<|im_start|>' + message.role + '\\n<think>\\n' + thought.strip('\\n') + '\\n</think>\\n\\n' + content.lstrip('\\n') }}
        {%- else %}
            {{- '<|im_start|>' + message.role + '\\n' + content }}
        {%- endif %}
        {{- '<|im_end|>\\n' }}
    {%- elif message.role == "tool" %}
        {{- '<|im_start|>user\\n<tool>\\n' + {"result": content, "ok": [true, none, 1]}|tojson + '\\n</tool><|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}
"""


def message(role: str, content: str) -> dict:
    return dict(role=role, content=content)


CONVERSATIONS = [
    [message("user", "Where is Mary?")],
    [message("system", "  Be brief.\n"), message("user", " Où est Mary? 東京\n")],
    [
        message("system", "Be <b>brief</b> & \"kind\"."),
        message("user", "one"),
        message("assistant", "<think>\nthat is\nfirst\n</think>\n\n two "),
        message("user", "three {{ messages }}"),
    ],
    [message("user", "one"), message("assistant", "<think>a</think>two")],
    [message("user", "one"), message("user", "two")],
    [message("user", "one"), message("assistant", "two"), message("tool", "3 < 4 'é'"), message("user", "go on")],
    [message("user", "")],
]


def make(root: Path, name: str, template, special: dict, variables: list, in_file: bool = False) -> None:
    folder = root / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    config = dict(tokenizer_class="PreTrainedTokenizerFast", **special)
    source = template
    if in_file:
        (folder / "chat_template.jinja").write_text(template)
        config["chat_template"] = "{{ raise_exception('the file beside this one wins') }}"
    elif isinstance(template, list):
        config["chat_template"] = template
        source = next(entry["template"] for entry in template if entry["name"] == "default")
    else:
        config["chat_template"] = template
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=1, ensure_ascii=False) + "\n")
    plain = {key: token["content"] if isinstance(token, dict) else token for key, token in special.items()}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({"a": 0}, unk_token="a")), **plain)
    golden = []
    for messages in CONVERSATIONS:
        for opens in [False, True]:
            for extra in variables:
                case = dict(messages=messages, opens_answer=opens, variables=extra)
                try:
                    case["text"] = tokenizer.apply_chat_template(
                        messages, chat_template=source, tokenize=False, add_generation_prompt=opens, **extra
                    )
                except Exception as error:
                    case["error"] = str(error)
                golden.append(case)
    (folder / "golden.json").write_text(json.dumps(golden, ensure_ascii=False, indent=1) + "\n")


def main(root: Path) -> None:
    make(root, "llama3", LLAMA3, dict(bos_token="<|begin|>", eos_token="<|eot|>"), [{}], in_file=True)
    added = dict(lstrip=False, normalized=False, rstrip=False, single_word=False)
    objects = dict(bos_token=dict(content="<s>", **added), eos_token=dict(content="</s>", **added))
    make(root, "mistral", MISTRAL, objects, [{}])
    other = dict(name="tool_use", template="{{ raise_exception('not asked for') }}")
    named = [other, dict(name="default", template=QWEN2)]
    make(root, "qwen2", named, dict(eos_token="<|im_end|>", pad_token="<|endoftext|>"), [{}])
    make(root, "qwen3", QWEN3, dict(eos_token="<|im_end|>"), [{}, dict(enable_thinking=False)])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
