"""Chat templates as families publish them, written from their known form, with the tokens that they need."""

from dataclasses import dataclass

SYSTEM = "You judge paintings."


@dataclass(frozen=True)
class ChatForm:
    """begins: the tokenizer puts its beginning-of-text token by itself. before, after: text around picture and question
    (P: the picture's token, Q: the question), up to the answer."""

    template: str
    special: tuple[str, ...]
    bos: str | None
    eos: str
    text: str
    with_system: str
    end: str
    begins: bool = False


QWEN2_5_VL = (
    "{% set image_count = namespace(value=0) %}{% for message in messages %}"
    "{% if loop.first and message['role'] != 'system' %}<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
    "{% endif %}<|im_start|>{{ message['role'] }}\n{% if message['content'] is string %}{{ message['content'] }}"
    "<|im_end|>\n{% else %}{% for content in message['content'] %}{% if content['type'] == 'image' or 'image' in "
    "content or 'image_url' in content %}{% set image_count.value = image_count.value + 1 %}{% if add_vision_id %}"
    "Picture {{ image_count.value }}: {% endif %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif 'text' in content %}{{ content['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
QWEN3_5 = """
{%- macro render(content) %}{%- if content is string %}{{- content }}{%- else %}{%- for item in content %}
{%- if item.type == 'image' %}{{- '<|vision_start|><|image_pad|><|vision_end|>' }}
{%- else %}{{- item.text }}{%- endif %}
{%- endfor %}{%- endif %}{%- endmacro %}
{%- if messages[0].role == 'system' %}
{{- '<|im_start|>system\\n' + (render(messages[0].content) | trim) + '<|im_end|>\\n' }}
{%- endif %}
{%- set ns = namespace(last_query_index=messages|length - 1) %}
{%- for message in messages %}{%- if message.role == 'user' %}{%- set ns.last_query_index = loop.index0 %}{%- endif %}
{%- endfor %}
{%- for message in messages %}
{%- set content = render(message.content) | trim %}
{%- if message.role == 'user' %}{{- '<|im_start|>user\\n' + content + '<|im_end|>\\n' }}
{%- elif message.role == 'assistant' %}
{%- set reasoning = '' %}
{%- if '</think>' in content %}
{%- set reasoning = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
{%- set content = content.split('</think>')[-1].lstrip('\\n') %}
{%- endif %}
{%- if loop.index0 > ns.last_query_index %}
{{- '<|im_start|>assistant\\n<think>\\n' + reasoning | trim + '\\n</think>\\n\\n' + content }}
{%- else %}{{- '<|im_start|>assistant\\n' + content }}{%- endif %}
{{- '<|im_end|>\\n' }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}
{%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\\n\\n</think>\\n\\n' }}
{%- else %}{{- '<think>\\n' }}{%- endif %}{%- endif %}
""".strip()
INTERNVL3 = (
    "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nYou are InternVL.<|im_end|>\n{% endif %}"
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n'}}{% if message['content'] is string %}"
    "{{ message['content'] }}{% else %}{% for content in message['content'] %}{% if content['type'] == 'image' %}"
    "{{ '<IMG_CONTEXT>\n' }}{% elif content['type'] == 'video' %}{{ '<video>\n' }}{% elif content['type'] == 'text' %}"
    "{{ content['text'] }}{% endif %}{% endfor %}{% endif %}{{'<|im_end|>\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{'<|im_start|>assistant\n' }}{% endif %}"
)
LLAVA_1_5 = (
    "{% for message in messages %}{% if message['role'] != 'system' %}{{ message['role'].upper() + ': '}}{% endif %}"
    "{# Render all images first #}{% for content in message['content'] | selectattr('type', 'equalto', 'image') %}"
    "{{ '<image>\n' }}{% endfor %}{# Render all text next #}{% if message['role'] != 'assistant' %}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}{{ content['text'] + ' '}}"
    "{% endfor %}{% else %}{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}"
    "{% generation %}{{ content['text'] + ' '}}{% endgeneration %}{% endfor %}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)
GEMMA3 = """
{{ bos_token }}
{%- if messages[0]['role'] == 'system' -%}
{%- if messages[0]['content'] is string -%}{%- set first_user_prefix = messages[0]['content'] + '\\n\\n' -%}
{%- else -%}{%- set first_user_prefix = messages[0]['content'][0]['text'] + '\\n\\n' -%}{%- endif -%}
{%- set loop_messages = messages[1:] -%}
{%- else -%}{%- set first_user_prefix = "" -%}{%- set loop_messages = messages -%}
{%- endif -%}
{%- for message in loop_messages -%}
{%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) -%}{{ raise_exception("Roles must alternate") }}
{%- endif -%}
{%- set role = "model" if message['role'] == 'assistant' else message['role'] -%}
{{ '<start_of_turn>' + role + '\\n' + (first_user_prefix if loop.first else "") }}
{%- if message['content'] is string -%}{{ message['content'] | trim }}
{%- else -%}{%- for item in message['content'] -%}
{%- if item['type'] == 'image' -%}{{ '<start_of_image>' }}
{%- elif item['type'] == 'text' -%}{{ item['text'] | trim }}{%- endif -%}
{%- endfor -%}{%- endif -%}
{{ '<end_of_turn>\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '<start_of_turn>model\\n' }}{%- endif -%}
""".strip()
IDEFICS3 = (
    "<|begin_of_text|>{% for message in messages %}{{message['role'].capitalize()}}"
    "{% if message['content'][0]['type'] == 'image' %}{{':'}}{% else %}{{': '}}{% endif %}"
    "{% for line in message['content'] %}{% if line['type'] == 'text' %}{{line['text']}}"
    "{% elif line['type'] == 'image' %}{{ '<image>' }}{% endif %}{% endfor %}<end_of_utterance>\n{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)

_CHATML = "<|im_start|>user\nPQ<|im_end|>\n<|im_start|>assistant\n"
_SYSTEM = f"<|im_start|>system\n{SYSTEM}<|im_end|>\n"
_THOUGHT = "<think>\n\n</think>\n\n"
_QWEN_PICTURE = _CHATML.replace("P", "<|vision_start|>P<|vision_end|>")
FORMS = {
    "qwen2_5_vl": ChatForm(
        QWEN2_5_VL,
        (),
        None,
        "<|im_end|>",
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n" + _QWEN_PICTURE,
        _SYSTEM + _QWEN_PICTURE,
        "<|im_end|>",
    ),
    "qwen3_5": ChatForm(
        QWEN3_5,
        ("<think>", "</think>"),
        None,
        "<|im_end|>",
        _QWEN_PICTURE + _THOUGHT,
        _SYSTEM + _QWEN_PICTURE + _THOUGHT,
        "<|im_end|>",
    ),
    "internvl": ChatForm(
        INTERNVL3,
        (),
        None,
        "<|im_end|>",
        "<|im_start|>system\nYou are InternVL.<|im_end|>\n" + _CHATML.replace("P", "P\n"),
        _SYSTEM + _CHATML.replace("P", "P\n"),
        "<|im_end|>",
    ),
    "llava": ChatForm(
        LLAVA_1_5, (), "<s>", "</s>", "USER: P\nQ ASSISTANT: ", f"{SYSTEM} USER: P\nQ ASSISTANT: ", "</s>", begins=True
    ),
    "gemma3": ChatForm(
        GEMMA3,
        ("<start_of_turn>",),
        "<bos>",
        "<end_of_turn>",
        "<bos><start_of_turn>user\nPQ<end_of_turn>\n<start_of_turn>model\n",
        f"<bos><start_of_turn>user\n{SYSTEM}\n\nPQ<end_of_turn>\n<start_of_turn>model\n",
        "<end_of_turn>",
    ),
    "idefics3": ChatForm(
        IDEFICS3,
        (),
        "<|begin_of_text|>",
        "<end_of_utterance>",
        "<|begin_of_text|>User:PQ<end_of_utterance>\nAssistant: ",
        f"<|begin_of_text|>System: {SYSTEM}<end_of_utterance>\nUser:PQ<end_of_utterance>\nAssistant: ",
        "<end_of_utterance>",
    ),
}
