#!/usr/bin/env python3
"""Writes tests/data/jinja/cases.json: small templates with what jinja2, set up as transformers does it, makes of them.

    python3 tests/tools/jinja_golden.py > tests/data/jinja/cases.json       (needs transformers and jinja2)

A case is [template, text], or [template, null] where Python raises; `variables` are those of all cases. Templates whose
refusal is ours (what jinja2 has and the interpreter has not) are in tests/unit/io/jinja/test_jinja.c.
"""
import json
import sys

from transformers.utils.chat_template_utils import _compile_jinja_template

VARIABLES = {
    "bos_token": "<s>", "eos_token": "</s>", "add_generation_prompt": True, "tools": None, "yes": True, "no": False,
    "i": 7, "f": 2.5, "big": 1e16, "small": 1.5e-7, "text": "  Hello, wörld\n", "word": "abc", "none_value": None,
    "list": [3, 1, 2], "names": ["b", "a", "C"], "nested": [[1, [2, "x"]], {"k": None, "q": "it's"}],
    "table": {"name": "go", "arguments": {"x": 1, "y": [1.0, True, None], "z": "é\"\n\t\u007f<&"}, "empty": {}, "none": []},
    "messages": [
        {"role": "system", "content": "Be brief."}, {"role": "user", "content": " Rules\n"},
        {"role": "assistant", "content": "<think>\nhm\n</think>\n\nOK"}, {"role": "user", "content": "Go. 你好"},
        {"role": "assistant", "content": None, "tool_calls": [
            {"type": "function", "function": {"name": "f", "arguments": {"a": "b", "n": 2}}}]},
        {"role": "tool", "content": "{\"r\": 1}", "name": "f"}, {"role": "assistant", "content": "done"}],
    "schema": {"type": "function", "function": {"name": "f", "description": "does 'it'", "parameters": {
        "type": "object", "properties": {"a": {"type": "string", "enum": ["x", "y"]}, "n": {"type": "integer"}}, "required": ["a"]}}},
}

EXPRESSIONS = """
1 + 2 * 3 - 4 // 3 % 2
7 // 2 ~ -7 // 2 ~ 7 % 3 ~ -7 % 3 ~ 7 % -3
7 / 2
4 / 2
2 ** 10
-2 ** 2
2 ** 3 ** 2
(-1) ** 101
1 + 1.5
0.1 + 0.2
big
small
1e15 * 1.0
123456789.125
1e-4
1e-5
100000.0 * 1e11
5e-324
1.7976931348623157e308
yes + 1
yes ~ no ~ none_value ~ missing ~ f ~ i
'a' 'b' "c"
'a\\tb\\n\\'\\x41\\u00e9\\101\\q'
"it's" ~ 'say "x"'
[1, 'a', "it's", none, true, 2.0, [], {}, (1,), ()]
nested
table
schema
messages[4].tool_calls
(1, 2)
1, 2
'a' if yes else 'b'
'a' if no
('a' if no else 'b' if no else 'c')
yes and no or i
not yes
not missing
1 < 2 < 3
1 < 2 > 3
1 == 1.0
true == 1
'a' < 'b'
'a' == "a"
[1, 2] == [1, 2]
{'a': 1} == {'a': 1.0}
none == missing
missing == nothing
2 in list
5 not in list
'ell' in text
'name' in table
'x' in missing
missing in list
'' in ''
word * 3
3 * [1, 'a']
word * -1
[1] + [2, 3]
(1, 2) + (3,)
list[0] ~ list[-1] ~ list[5]
list[1:]
list[:-1]
list[::-1]
list[::2]
list[-2:]
list[5:]
list[2:0:-1]
list[none:2]
list[-100:100]
list[100::-1]
text[2:9]
text[::-1]
text[-3]
text[100]
'你好吗'[1]
'你好吗'[::2]
'你好吗'[:2]
'你好吗'|length
messages[1:][0].role
messages[0]['role']
messages[0].missing
messages[0].missing is defined
messages[0]['missing'] is none
messages[99]
none_value.x
word.x
i.x
table.name
table['name']
table.keys()|list
table.values()|list
table.get('name')
table.get('nope')
table.get('nope', 'fallback')
table.get('none', 'fallback')
table.arguments.y[0]
nested.0.1
{'items': 1}.items() | list
{'items': 1}['items']
{'a': 1, 'b': 2, 'a': 3}
{1: 'x', none: 2, 'k': 3}[1]
text.strip()
text.lstrip()
text.rstrip()
text.strip(' \\nHd')
text | trim
text | trim | upper if no else text | trim | length
'xxabcxx'.strip('x')
'xxabcxx'.lstrip('x')
'xxabcxx'.rstrip('x')
'ab'.strip('')
word.upper()
'hello world, it\\'s ME'.title()
'hello world-foo (bar) x_y'|title
'hELLO wORLD'.capitalize()
'hELLO wORLD'|capitalize
'aBc'|lower
word.startswith('ab')
word.startswith(('x', 'a'))
word.endswith('bc')
word.endswith('')
word.startswith('b', 1)
'a,b,,c'.split(',')
'a,b,,c'.split(',', 1)
'a,b,,c'.rsplit(',', 1)
' a  b \\n c '.split()
' a  b \\n c '.split(none, 1)
''.split()
''.split(',')
'a</think>b</think>c'.split('</think>')[-1]
'a</think>b</think>c'.split('</think>')[0].split('<think>')[-1]
'aXbXc'.replace('X', '--')
'aXbXc'.replace('X', '', 1)
'abc'.replace('', '-')
'你好'.replace('', '-')
'aXb' | replace('X', 'Y')
123 | replace('2', 'x')
'abcabc'.find('c')
'abcabc'.rfind('c')
'abcabc'.find('z')
'你好吗'.find('吗')
'abcabc'.index('b')
'abcabc'.find('b', 2)
'abcabc'.find('b', 2, 3)
'aaaa'.count('aa')
'abc'.count('')
'a\\nb\\r\\nc\\x0bd\\n'.splitlines()
'a\\nb\\n'.splitlines(true)
'a=b=c'.partition('=')
'a=b=c'.rpartition('=')
'abc'.partition('=')
'abc'.rpartition('=')
'prefix-x'.removeprefix('prefix-')
'x.json'.removesuffix('.json')
','.join(['a', 'b'])
''.join(word)
'12'.isdigit() ~ ''.isdigit() ~ 'ab'.isalpha() ~ 'a1'.isalnum() ~ ' \\t'.isspace() ~ 'aB'.islower() ~ 'AB1'.isupper()
list | length
list | first
list | last
[] | first
word | first
word | last
table | first
list | join
list | join(', ')
messages | map(attribute='role') | join(' ')
messages | map(attribute='name', default='-') | join
names | map('upper') | list
names | map('replace', 'b', 'x') | list
names | sort
names | sort(case_sensitive=true)
names | sort(reverse=true)
list | sort
messages | sort(attribute='role') | map(attribute='role') | list
list | reverse | list
word | reverse
[1, 1, 'a', 'A', 2] | unique | list
list | sum
list | min
list | max
[] | max
messages | selectattr('role', 'equalto', 'user') | list | length
messages | selectattr('role', 'eq', 'user') | map(attribute='content') | list
messages | rejectattr('role', 'in', ['user', 'system']) | map(attribute='role') | join(',')
messages | selectattr('tool_calls') | list | length
messages | selectattr('tool_calls', 'defined') | list | length
[0, 1, '', 'a'] | select | list
[0, 1, 2, 3] | reject('odd') | list
[0, 1, 2, 3] | select('divisibleby', 3) | list
table | dictsort | first
{'b': 1, 'A': 2} | dictsort
{'b': 1, 'A': 2} | dictsort(by='value')
table | items | list | length
missing | items | list
table | length
missing | length
missing | default('x')
missing | d('x')
'' | default('x')
'' | default('x', true)
none_value | default('x')
none_value | default('x', boolean=true)
missing | default
missing | trim
missing | upper
missing | list
missing | join(',')
none_value | trim
i | string ~ '1'
'12' | int + 1
' 12 ' | int
'0012' | int
'12.7' | int
'x' | int
'x' | int(5)
2.9 | int
-2.9 | int
'1.5' | float
'x' | float
3 | float
-3 | abs
-2.5 | abs
word | list
table | list
range(3) | list
'y' if messages | selectattr('role', 'eq', 'nobody') else 'n'
(messages | map(attribute='role'))[0] is defined
table.items() | length
'name' in table.keys()
range(5)[1:3] | list
range(5)[-1] ~ range(3) | length
range(2) == range(0, 2)
list == list | reverse
messages | map(attribute='role') is sequence
table.items() is iterable
range(1, 7, 2) | list
range(3, 0, -1) | list
table | tojson
table.arguments | tojson
table | tojson(indent=2)
schema | tojson(indent=4)
schema | tojson
table | tojson(sort_keys=true)
table | tojson(separators=(',', ':'))
table | tojson(ensure_ascii=true)
'😀é' | tojson(ensure_ascii=true)
table | tojson(true, 2)
word | tojson
none_value | tojson
[] | tojson(indent=2)
[[], {}] | tojson(indent=1)
f | tojson
big | tojson
table | tojson | safe
'<' | safe ~ '<' ~ (word | safe | length)
'a' in ('abc' | safe)
('abc' | safe) == word
(1, 2) | tojson
{1: 2, none: 3, true: 4, 1.5: 5} | tojson
'a\\x00\\x1f\\x7f' | tojson
'a\\x00\\x1f\\x7f\\xa0\\u200b\\u3000é你😀\\u0378' ~ ['a\\x00\\x1f\\x7f\\xa0\\u200b\\u3000é你😀\\u0378']
"a\\nb\\n\\nc" | indent
"a\\nb\\n\\nc\\n" | indent(2, true)
"a\\nb\\n\\nc" | indent(2, blank=true)
"a\\nb" | indent(width='>> ')
"" | indent(2, true)
missing is defined
missing is undefined
none_value is none
word is string
table is mapping
list is sequence
word is sequence
list is iterable
table is iterable
i is iterable
i is number
f is number
yes is number
i is integer
yes is integer
f is float
yes is boolean
yes is true
no is false
1 is true
i is odd
i is even
i is divisibleby 7
i is divisibleby(2)
i is eq 7
i is gt(5)
i is in [7, 8]
word is in 'xabcx'
none_value is not none
word is not string
word is lower
'ABC' is upper
missing is string
missing is iterable
missing is sequence
missing is mapping
range is callable
raise_exception is defined
strftime_now is defined
namespace(a=1).a
namespace(a=1).b is defined
dict(a=1)
yes is sameas true
none_value is sameas none
-i
+i
--i
-i | abs
(1 if yes else 2) + 1
[messages[0].role, messages[-1].role] | join('/')
messages[-1:][0].content
{'role': 'user'} in [{'role': 'user'}]
'%' ~ '%'
1.0 ~ ' ' ~ 1.50
1_000
[1, 2,]
{'a': 1,}
('a')
(('a', 'b'))[0]
not (yes and no)
not 1 == 2
'x' in 'xyz' and 'a' not in 'xyz'
i if i is defined else 'none'
""".strip().split("\n")

ERRORS = """
missing.x
missing['x']
missing + 'a'
'a' + missing
'a' + 1
1 + 'a'
'a' + none
none_value + 1
missing()
word()
missing < 1
'a' < 1
none_value < 1
none_value | length
i | length
1 / 0
1 + 1 ~ 2 * 2
messages | map('upper') | length
[1] + range(2)
table.items() | tojson
messages | map(attribute='role') | last
1 // 0
1 in 'abc'
1 in 5
missing in 'abc'
list[1:2:0]
word.split('')
word.index('z')
[1, none] | sort
list | join(',') | tojson | foo
{[]: 1}
-word
-missing
messages | map('nope') | list
word is nope
range(1000000)
raise_exception('stop')
missing | tojson
range | tojson
'a'.startswith(1)
','.join([1])
table.nope.x
list.append(1)
table.pop('name')
table.update({})
loop.index
1 +
'abc
(1
[1
{'a'
a b
1 = 2
word |
word is
word is string is string
f(
word(**{})
abc.
""".strip().split("\n")

TEMPLATES = [
    "{% for m in messages %}{{ m.role }}{% if not loop.last %}, {% endif %}{% endfor %}",
    "{% for m in messages %}\n  {% if m.role == 'user' %}\n    U{{ m.content }}\n  {% else %}\n    X\n  {% endif %}\n{% endfor %}\n",
    "a\n  {%- if yes %}\n b \n  {%- endif %}\n c  {#- note -#}  \n d\n",
    "  {% if yes %}  x  {% endif %}  \n  {{ word }}  \n  {# c #}\n  y\n\n",
    "{%+ if yes %}  x{% endif +%}\n y",
    "   {%+ if yes %}x{% endif %}",
    "a {{- ' b ' -}} c",
    "a\r\nb\rc\n{{ '\r\n' | length }}",
    "{% raw %}{{ x }}{% y %}{% endraw %}!",
    "{% raw -%}  a  {%- endraw %}  b",
    "x{# a #}\ny{# b -#}  \n z",
    "{% for x in list %}{{ loop.index }}{{ loop.index0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.previtem }}{{ loop.nextitem }};{% endfor %}",
    "{% for x in list if x > 1 %}{{ loop.index }}/{{ loop.length }}:{{ x }}{{ loop.previtem is defined }}{{ loop.nextitem }};{% else %}none{% endfor %}",
    "{% for x in list if x > 9 %}{{ x }}{% else %}none{% endfor %}",
    "{% for x in [] %}{{ x }}{% else %}none{% endfor %}",
    "{% for x in missing %}{{ x }}{% else %}none{% endfor %}",
    "{% for k, v in table.items() %}{{ k }}={{ v }};{% endfor %}",
    "{% for k in table %}{{ k }};{% endfor %}",
    "{% for c in 'añb' %}{{ c }}.{% endfor %}",
    "{% for (a, b) in [(1, 2), [3, 4]] %}{{ a + b }},{% endfor %}",
    "{% for x in list %}{% if x == 1 %}{% continue %}{% endif %}{{ x }}{% if x == 2 %}{% break %}{% endif %}{% endfor %}",
    "{% for x in list %}{% for y in list %}{% if y == 1 %}{% break %}{% endif %}{{ x }}{{ y }} {% endfor %}{{ loop.index }}|{% endfor %}",
    "{% for x in [1, 1, 2] %}{{ loop.changed(x) }}{{ loop.cycle('a', 'b') }}{% endfor %}",
    "{% set x = 1 %}{% for y in list %}{% set x = y %}{{ x }}{% endfor %}{{ x }}",
    "{% set x = 1 %}{% if yes %}{% set x = 2 %}{% endif %}{{ x }}",
    "{% for y in list %}{{ z is defined }}{% set z = y %}{% endfor %}{{ z is defined }}",
    "{% set ns = namespace(n=0, seen=[]) %}{% for y in list %}{% set ns.n = ns.n + y %}{% set ns.seen = ns.seen + [y] %}{% endfor %}{{ ns.n }}{{ ns.seen }}",
    "{% set ns = namespace() %}{% set ns.a = 'x' %}{{ ns.a }}{{ ns['a'] }}{{ ns.b is defined }}",
    "{% set a, b = 1, 2 %}{{ a }}{{ b }}{% set (c, d) = 'xy' %}{{ c }}{{ d }}",
    "{% set t %}a{{ word }}\n{% endset %}[{{ t }}]",
    "{% set t | trim | upper %}  a {{ word }} {% endset %}[{{ t }}]",
    "{% filter upper %}a{{ word }}{% endfilter %}",
    "{% filter replace('a', 'x') | trim %} banana {% endfilter %}",
    "{% macro m(a, b=2, c=a) %}{{ a }}-{{ b }}-{{ c }}{% endmacro %}{{ m(1) }} {{ m(1, 3) }} {{ m(b=5, a=0) }} {{ m() }}",
    "{% macro m(x) %}{% if x > 0 %}{{ x }}{{ m(x - 1) }}{% endif %}{% endmacro %}{{ m(5) }}",
    "{% macro outer() %}<{{ caller() }}>{% endmacro %}{% call outer() %}in {{ word }}{% endcall %}",
    "{% macro outer(n) %}{% for i in range(n) %}{{ caller(i) }},{% endfor %}{% endmacro %}{% call(i) outer(3) %}{{ i * 2 }}{% endcall %}",
    "{% macro m() %}{{ g }}{% endmacro %}{% set g = 'late' %}{{ m() }}",
    "{% macro m() %}{% set g = 'in' %}{{ g }}{% endmacro %}{% set g = 'out' %}{{ m() }}{{ g }}",
    "{% macro m() %} x {% endmacro %}[{{ m() | trim }}]",
    "{% macro m(a) %}{{ caller is defined }}{% endmacro %}{{ m() }}",
    "{% if no %}a{% elif word == 'abc' %}b{% elif yes %}c{% else %}d{% endif %}",
    "{% if no %}a{% elif no %}b{% else %}d{% endif %}",
    "{% for m in messages %}{% if m['role'] == 'assistant' %}{% generation %}{{ m['content'] }}</s>{% endgeneration %}{% else %}{{ m.role }}{% endif %}{% endfor %}",
    "{% generation %}{% set q = 1 %}{{ q }}{% endgeneration %}{{ q is defined }}",
    "{{ '{{' }}{{ '}}' }}{{ \"%}\" }}{{ {'a': {'b': 1}}['a']['b'] }}",
    "{{ {'a': {}} }}",
    "{% set messages = messages[1:] %}{{ messages | length }}",
    "{% for m in messages[::-1] %}{% set index = (messages|length - 1) - loop.index0 %}{{ index }}{% endfor %}",
    "{% set x = none %}{{ x }}{% if x is not none and x.y %}a{% endif %}",
    "{{ messages[2].content.split('</think>')[-1].lstrip('\\n') }}|{{ messages[2].content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') }}",
    "{% if tools %}T{% endif %}{% if tools is not none %}T{% endif %}{% if tools is defined %}D{% endif %}",
    "{% for tool in [schema] %}{{ tool | tojson }}\n{% endfor %}",
    "{% for tool_call in messages[4].tool_calls %}{% if tool_call.function %}{% set tool_call = tool_call.function %}{% endif %}{{ '{\"name\": \"' + tool_call.name + '\", \"arguments\": ' }}{{ tool_call.arguments | tojson }}{{ '}' }}{% endfor %}",
    "{% for name, p in schema.function.parameters.properties.items() %}{{ name }}: {{ p.type }}{% if p.enum is defined %} ({{ p.enum | join('|') }}){% endif %}{{ '' if loop.last else ', ' }}{% endfor %}",
    "{{ bos_token }}{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}!{% endif %}{% endfor %}",
    "{%- set found = namespace(value=false) -%}{%- for m in messages if not found.value -%}{{ m.role }}{%- if m.role == 'user' -%}{%- set found.value = true -%}{%- endif -%}{%- endfor -%}",
    "{% set a = 1 -%}\n   {% set b = 2 %}\n{{ a }}{{ b }}",
    "line\n{% if yes -%}\n   in\n{%- endif %}\nout",
    "\n\n{{ word }}\n\n",
    "{{ word }}\n",
    "{%if yes%}a{%endif%}{{word}}",
    "{% if yes %}\n\n  a\n{% endif %}\n\nb",
    "\t{% if yes %}\t\n\tx\n\t{% endif %}\n",
    "é{{ 'ü' }}{# ß #}😀",
    "{% for a in list %}{% for b in list %}{{ loop.index }}{% endfor %}{{ loop.index }} {% endfor %}",
    "{% for x in list %}{% set outer = loop %}{% for y in list %}{{ outer.index }}{% endfor %}{% endfor %}",
    "{% for x in range(3) %}{{ x }}{{ ', ' if not loop.last }}{% endfor %}",
]

BROKEN = [
    "{% if yes %}a", "{% for x in list %}", "{% endif %}", "{% else %}", "{{ word", "{% if %}a{% endif %}", "{# open",
    "{% raw %}open", "{% set = 1 %}", "{% set word.x = 1 %}", "{% for 1 in list %}{% endfor %}", "{% break %}",
    "{% for a, b in [1] %}{% endfor %}", "{% for a, b in [(1, 2, 3)] %}{% endfor %}", "{% for x in 5 %}{% endfor %}",
    "{% for x in none_value %}{% endfor %}", "{% macro m(a) %}{% endmacro %}{{ m(1, 2) }}",
    "{% macro m(a) %}{% endmacro %}{{ m(q=1) }}", "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "{% if yes %}a{% endfor %}", "{% unknown %}", "{% for x in list %}{% endfor %}{{ loop.index }}",
    "{% set ns = namespace() %}{% set ns._x = 1 %}", "{% for m in messages %}{{ '' + m.content }}{% endfor %}", "{{ }}", "{% %}",
    "{% macro m() %}{% break %}{% endmacro %}", "{% for x in list %}{% macro m() %}{% continue %}{% endmacro %}{% endfor %}",
]


def rendered(template):
    try:
        return _compile_jinja_template(template).render(**VARIABLES)
    except Exception:  # whatever Python raises is an error here
        return None


cases, wrong = [], []
for templates, fails in (([f"{{{{ {e} }}}}" for e in EXPRESSIONS] + TEMPLATES, False),
                         ([f"{{{{ {e} }}}}" for e in ERRORS] + BROKEN, True)):
    for template in templates:
        text = rendered(template)
        if (text is None) != fails:
            wrong.append(f"{template!r} gives {text!r}")
        cases.append([template, text])

if wrong:
    sys.exit("\n".join(wrong))
print("{\n\"variables\": " + json.dumps(VARIABLES, ensure_ascii=False) + ",\n\"cases\": [")
print(",\n".join(json.dumps(c, ensure_ascii=False) for c in cases))
print("]}")
