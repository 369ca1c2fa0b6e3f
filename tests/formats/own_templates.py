# ruff: noqa: E501
"""Small chat templates of our own, one for each way of writing calls that a template itself decides over."""

HERMES = """{%- for m in messages %}<|im_start|>{{ m.role }}
{% if m.reasoning_content %}<think>
{{ m.reasoning_content }}
</think>

{% endif %}{{ m.content or '' }}{% for c in m.tool_calls or [] %}
<tool_call>
{{ {'name': c.function.name, 'arguments': c.function.arguments} | tojson }}
</tool_call>{% endfor %}<|im_end|>
{% endfor %}{% if tools %}{% endif %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""

TAGS = """{%- for m in messages %}<|im_start|>{{ m.role }}
{{ m.content or '' }}{% for c in m.tool_calls or [] %}
<tool_call>
<function={{ c.function.name }}>
{% for k, v in c.function.arguments.items() %}<parameter={{ k }}>
{{ v if v is string else v | tojson }}
</parameter>
{% endfor %}</function>
</tool_call>{% endfor %}<|im_end|>
{% endfor %}{% if tools %}{% endif %}{% if add_generation_prompt %}<|im_start|>assistant
<think>
{% endif %}{# </think> #}"""

KEYS = """{%- for m in messages %}<|{{ m.role }}|>{% if m.reasoning_content %}<think>{{ m.reasoning_content }}</think>\
{% endif %}{{ m.content or '' }}{% for c in m.tool_calls or [] %}<tool_call>{{ c.function.name }}\
{% for k, v in c.function.arguments.items() %}<arg_key>{{ k }}</arg_key><arg_value>{{ v if v is string else v | tojson }}\
</arg_value>{% endfor %}</tool_call>{% endfor %}{% endfor %}{% if tools %}{% endif %}{% if add_generation_prompt %}\
<|assistant|>{% endif %}"""

NINE = """{%- for m in messages %}{% if m.role == 'user' %}[INST]{{ m.content }}[/INST]{% elif m.role == 'tool' %}\
{% if m.tool_call_id | length != 9 %}{{ raise_exception('ids have nine letters') }}{% endif %}\
[TOOL_RESULTS]{{ m.content }}[/TOOL_RESULTS]{% else %}{{ m.content or '' }}{% for c in m.tool_calls or [] %}\
{% if c.id | length != 9 %}{{ raise_exception('ids have nine letters') }}{% endif %}\
[TOOL_CALLS]{{ c.function.name }}[ARGS]{{ c.function.arguments | tojson }}{% endfor %}{{ eos_token }}{% endif %}\
{% endfor %}{% if tools %}{% endif %}"""

MESSAGES = """{%- for m in messages %}{% if m.role == 'assistant' %}{% if m.tool_calls %}\
{% if m.thinking and m.content %}{{ raise_exception('one of both') }}{% endif %}\
<|start|>assistant<|channel|>analysis<|message|>{{ m.thinking or m.content }}<|end|>\
<|start|>assistant to=functions.{{ m.tool_calls[0].function.name }}<|channel|>commentary json<|message|>\
{{ m.tool_calls[0].function.arguments | tojson }}<|call|>{% else %}{% if m.thinking %}\
<|start|>assistant<|channel|>analysis<|message|>{{ m.thinking }}<|end|>{% endif %}\
<|start|>assistant<|channel|>final<|message|>{{ m.content }}<|return|>{% endif %}{% else %}\
<|start|>{{ m.role }}<|message|>{{ m.content }}<|end|>{% endif %}{% endfor %}{% if tools %}{% endif %}\
{% if add_generation_prompt %}<|start|>assistant{% endif %}"""

ONE_CALL = """{%- for m in messages %}<|{{ m.role }}|>{% if m.tool_calls %}{% if m.tool_calls | length != 1 %}\
{{ raise_exception('one call at a time') }}{% endif %}{"name": "{{ m.tool_calls[0].function.name }}", "parameters": \
{{ m.tool_calls[0].function.arguments | tojson }}}{% else %}{{ m.content }}{% endif %}<|eot_id|>{% endfor %}\
{% if tools %}{% endif %}{% if add_generation_prompt %}<|assistant|>{% endif %}"""

NONE_CONTENT = """{%- for m in messages %}{% if m.role == 'assistant' %}<｜Assistant｜>{% if m.content is none %}\
<｜tool▁calls▁begin｜>{% for c in m.tool_calls %}<｜tool▁call▁begin｜>function<｜tool▁sep｜>{{ c.function.name }}
```json
{{ c.function.arguments | tojson }}
```<｜tool▁call▁end｜>{% endfor %}<｜tool▁calls▁end｜>{% else %}{{ m.content }}{% endif %}<｜end▁of▁sentence｜>\
{% else %}<{{ m.role }}>{{ m.content }}{% endif %}{% endfor %}{% if tools %}{% endif %}\
{% if add_generation_prompt %}<｜Assistant｜>{% endif %}"""

NO_CALLS = """{%- if tools %}<|tool_list_start|>{{ tools | tojson }}{% endif %}{% for m in messages %}<|im_start|>{{ m.role }}
{{ m.content }}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""

NO_SYSTEM = """{%- for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system role') }}{% endif %}\
<start_of_turn>{{ m.role }}
{{ m.content | trim }}<end_of_turn>
{% endfor %}{% if add_generation_prompt %}<start_of_turn>model
{% endif %}"""

BLOCKS = """{%- for m in messages %}{% if m.content is string %}{{ m.content }}{% else %}{% for b in m.content %}\
{% if b['type'] == 'thinking' %}[THINK]{{ b['thinking'] }}[/THINK]{% else %}{{ b['text'] }}{% endif %}{% endfor %}{% endif %}\
{% for c in m.tool_calls or [] %}[TOOL_CALLS]{{ c.function.name }}[ARGS]{{ c.function.arguments | tojson }}{% endfor %}\
{{ eos_token }}{% endfor %}{% if tools %}{% endif %}"""

DROPS_THINKING = """{%- for m in messages %}{% if m.role == 'assistant' %}<A>{{ (m.content or '').split('</think>')[-1] }}<E>\
{% else %}<U>{{ m.content }}{% endif %}{% endfor %}{% if add_generation_prompt %}<A><think>
{% endif %}"""

ALL = {name: text for name, text in globals().items() if name.isupper() and isinstance(text, str)}
