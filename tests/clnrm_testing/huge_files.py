# ruff: noqa: E501 (what is attacked with stays on its line)
"""Scenario files that ask for endless work or all memory, each by another construct."""

from __future__ import annotations

__all__ = ["HUGE", "TEMPLATES"]

STEP = '[[step]]\nrun = "true"\n'


def _string(template: str, more: str = "") -> str:
    """Return a file with a template in a string of a step."""
    return f"{more}[[step]]\nrun = '''{template}'''\n"


def _whole(template: str) -> str:
    """Return a file that is rendered whole."""
    return f"# line 1\n{template}\n{STEP}"


_NESTED = "{% set n = [[]] %}" + "{% set n = [n, n] %}" * 60

TEMPLATES: dict[str, str] = {
    # Loops and recursion.
    "loop in loop": _whole("{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}"),
    "loops without a body": _string("{% for a in range(99999) for b in range(9) %}{% endfor %}"),
    "deep loops": _whole("{% for a in range(9999) %}" * 20 + "{% endfor %}" * 20),
    "recursive loop": _whole("{% for a in [1] recursive %}{{ loop([1, 1]) }}{% endfor %}"),
    "macro calls itself": _whole("{% macro m() %}{{ m() }}{{ m() }}{% endmacro %}{{ m() }}"),
    "macro calls another twice": _whole(
        "{% macro m0() %}x{% endmacro %}"
        + "".join(f"{{% macro m{i}() %}}{{{{ m{i - 1}() }}}}{{{{ m{i - 1}() }}}}{{% endmacro %}}" for i in range(1, 60))
        + "{{ m59() }}"
    ),
    "macro with a default": _whole("{% macro m(a=range(99999)|list) %}{{ m() }}{% endmacro %}{{ m() }}"),
    "call block": _whole("{% macro m() %}{{ caller() }}{{ caller() }}{% endmacro %}" + "{% call m() %}" * 40 + "{% endcall %}" * 40),
    "range of range": _string("{{ range(99999)|map('string')|list|length }}" * 1000),
    "huge range": _string("{{ range(999999999999)|list }}"),
    # Texts.
    "set doubles a text": _whole("{% set x = 'a' %}" + "{% set x = x ~ x %}" * 60),
    "set block doubles a text": _whole("{% set x %}a{% endset %}" + "{% set x %}{{ x }}{{ x }}{% endset %}" * 60),
    "text times": _string("{{ 'a' * 9999999999 }}"),
    "text times in turn": _string("{{ ('a' * 99999) * 99999 }}"),
    "texts kept": _whole(
        "{% set ns = namespace(l=[]) %}{% set x = 'a' * 1000000 %}"
        "{% for i in range(99999) %}{% set ns.l = ns.l + [x[:-1] ~ i] %}{% endfor %}"
    ),
    "kept slices": _whole(
        "{% set x = 'a' * 1000000 %}{% set l = [] %}"
        "{% for i in range(99999) %}{% set l = l + [x[i:]] %}{% endfor %}"
    ),
    "slices in one expression": _string("{% set x = 'a' * 1000000 %}{{ [" + "x[1:]," * 20000 + "]|length }}"),
    "join of a list by a text": _string("{% set x = 'a' * 100000 %}{{ range(99999)|join(x) }}"),
    "replace one by many": _string("{% set x = 'a' * 100000 %}{{ x|replace('a', x) }}"),
    "replace method": _string("{% set x = 'a' * 100000 %}{{ x.replace('a', x) }}"),
    "upper of all": _whole("{% set x = 'a' * 1000000 %}" + "{{ x|upper|lower|title|length }}" * 5000),
    "split and join": _whole("{% set x = 'a ' * 500000 %}" + "{{ x.split()|join('b')|length }}" * 3000),
    "find in each": _whole(
        "{% set x = 'a' * 1000000 %}{% for i in range(9999) %}{{ x.find('b') }}{{ x.count('aa') }}{% endfor %}"
    ),
    "slow find": _whole(
        "{% set x = 'a' * 500000 %}{% set y = 'a' * 200000 ~ 'b' ~ 'a' * 200000 %}"
        + "{{ x.find(y) }}{{ x.count(y) }}{{ y in x }}" * 3000
    ),
    "trim of matches": _string("{% set x = 'ab' * 500000 %}{{ x|trim_start_matches(pat='ab') }}"),
    "striptags": _string("{% set x = '<' * 1000000 %}{{ x|striptags }}"),
    "html comments": _string("{% set x = '<!--' * 200000 %}{{ x|striptags }}"),
    "title": _whole("{% set x = 'a' * 1000000 %}" + "{{ x|title|length }}" * 9999),
    "wordcount": _whole("{% set x = 'a ' * 500000 %}" + "{{ x|wordcount }}" * 9999),
    "urlencode": _whole("{% set x = '%' * 500000 %}" + "{{ x|urlencode|urlencode|length }}" * 99),
    "partition": _whole("{% set x = 'a' * 999999 %}{% set l = [" + "x.partition('b')," * 9999 + "] %}"),
    "format with a width": _string("{{ '%999999999d' % 1 }}"),
    "format filter": _string("{{ '%999999999d'|format(1) }}"),
    "format method": _string("{{ '{:999999999}'.format(1) }}"),
    "center": _string("{{ 'a'.center(999999999) }}"),
    "indent": _string("{{ ('a\n' * 99999)|indent(999999) }}"),
    "a name that is long": _string("{{ " + "a" * 900_000 + " }}"),
    "many blocks": _string("{{ 1 }}" * 100_000),
    "many names that differ": STEP + "".join(f"env.A{i} = '{{{{ a|d({i}) }}}}'\n" for i in range(9000)),
    # Numbers.
    "power": _string("{{ 9 ** 9 ** 9 }}"),
    "power of a power": _string("{{ ((9 ** 999) ** 999) ** 999 }}"),
    "shift by multiplying": _whole("{% set x = 99 %}" + "{% set x = x * x %}" * 60),
    "sum of numbers that grow": _whole(
        "{% set ns = namespace(x=2) %}{% for i in range(99999) %}{% set ns.x = ns.x * 2 + ns.x %}{% endfor %}"
    ),
    "negative power": _string("{{ 2.0 ** 99999999 }}"),
    "long literal": _string("{{ " + "9" * 900_000 + " }}"),
    "int of a text": _string("{{ ('9' * 900000)|int }}"),
    "float of a text": _string("{{ ('9' * 900000)|float }}"),
    # Values that share.
    "shared nesting printed": _whole(_NESTED + "{{ n }}"),
    "shared nesting compared": _whole(_NESTED + _NESTED.replace("n", "m").replace("e", "e") + "{{ n == m }}"),
    "shared nesting in a condition": _whole(_NESTED + "{% set m = n %}{% if [n, 1] < [n, 2] %}{% endif %}"),
    "shared nesting joined": _whole(_NESTED + "{{ n|join(',') }}"),
    "shared nesting as JSON": _whole(_NESTED + "{{ n|tojson|length }}"),
    "shared nesting as TOML": _whole(_NESTED + "{{ n|toml_encode|length }}"),
    "shared nesting as text": _whole(_NESTED + "{{ n|string|length }}"),
    "shared nesting sorted": _whole(_NESTED + "{{ [n, n, n]|sort|length }}"),
    "shared nesting of texts": _whole(_NESTED + "{{ sha256(s=n) }}"),
    "shared tables": _whole("{% set n = {} %}" + "{% set n = {'a': n, 'b': n} %}" * 60 + "{{ n }}"),
    "list doubles": _whole("{% set x = [1] %}" + "{% set x = x + x %}" * 60),
    "concat doubles": _whole("{% set x = [1] %}" + "{% set x = x|concat(with=x) %}" * 60),
    "list times": _string("{{ ([1] * 999999999)|length }}"),
    "list of lists times": _string("{{ ([[1] * 99999] * 99999)|length }}"),
    "groupby": _whole("{% for i in range(9999) %}{{ range(99999)|map('string')|groupby(0) }}{% endfor %}"),
    "sort in a loop": _whole("{% set l = range(99999)|list %}{% for i in range(9999) %}{{ (l|sort(reverse=true))[0] }}{% endfor %}"),
    "unique in a loop": _whole("{% set l = range(99999)|list %}{% for i in range(9999) %}{{ l|unique|list|length }}{% endfor %}"),
    "sum of lists": _string("{{ ([[1]] * 90000)|sum(start=[])|length }}"),
    "in of a list": _whole("{% set l = range(99999)|list %}{% for i in range(99999) %}{{ -1 in l }}{% endfor %}"),
    "shuffle": _whole("{% for i in range(9999) %}{{ shuffle(list=range(99999)|list)|length }}{% endfor %}"),
    "hash": _whole("{% set x = 'a' * 1000000 %}{% for i in range(99999) %}{{ sha256(s=x) }}{% endfor %}"),
    "random digits": _whole("{% for i in range(9999) %}{{ rand_hex(n=1000000)|length }}{% endfor %}"),
    # The template itself.
    "nested brackets": _string("{{ " + "(" * 100_000 + ")" * 100_000 + " }}"),
    "nested lists": _string("{{ " + "[" * 400_000 + " }}"),
    "nested conditions": _whole("{% if 1 %}" * 20_000 + "{% endif %}" * 20_000),
    "long chain": _string("{{ " + "1+" * 200_000 + "1 }}"),
    "long chain of filters": _string("{{ 1" + "|abs" * 100_000 + " }}"),
    "long chain of attributes": _string("{{ a" + ".b" * 100_000 + " }}"),
    "long chain of comparisons": _string("{{ 1" + " < 2" * 100_000 + " }}"),
    "nested conditions in one line": _string("{{ " + "1 if 1 else " * 60_000 + "1 }}"),
    "statements that never end": _whole("{% " * 300_000),
    "comments that never end": _whole("{#" * 400_000),
    "raw that never ends": _whole("{% raw %}" * 90_000),
    "variables that double": "[vars]\nv0 = 'aaaaaaaaaa'\n"
    + "".join(f"v{i} = '{{{{ v{i - 1} }}}}{{{{ v{i - 1} }}}}'\n" for i in range(1, 60))
    + STEP,
    "variables that are large": "[vars]\nv0 = '" + "a" * 9000 + "'\n"
    + "".join(f"v{i} = '{'{{ v0 }}' * 100}'\n" for i in range(1, 60))
    + STEP,
    "a large variable in many places": "[vars]\nv = '" + "a" * 500_000 + "'\n"
    + "".join("[[step]]\nrun = '{{ v }}'\n" for _ in range(9000)),
}  # fmt: skip
"""What templates ask for: each is a mistake with its line."""


def _services() -> str:
    lines = []
    for i in range(1500):
        needs = ", ".join(f'"s{(i + j) % 1500}"' for j in range(1, 41))
        lines.append(f'[service.s{i}]\nimage = "b"\ndepends_on = [{needs}]\n')
    return "".join(lines) + STEP


def _many(count: int, scenario: str) -> str:
    return "".join(scenario.replace("@", str(i)) for i in range(count))


HUGE: dict[str, str] = {
    "unknown keys": "".join(f"key{i} = {i}\n" for i in range(50_000)) + STEP,
    "unknown keys that are many tables": "".join(f"[a{i}]\n" for i in range(50_000)) + STEP,
    "unknown keys below the limit": "".join(f"stepp{i} = {i}\n" for i in range(9_000)) + STEP,
    "unknown keys of steps": "".join(f'[[step]]\nrun = "true"\nrunn = {i}\n' for i in range(9_000)),
    "unknown services": "".join(f'[service.a{i}]\nimage = "b"\n' for i in range(3000))
    + "".join(f'[[step]]\nrun = "true"\nservice = "b{i}"\n' for i in range(9_000)),
    "services in circles": _services(),
    "services after a circle": '[service.a]\nimage = "b"\ndepends_on = ["b"]\n'
    '[service.b]\nimage = "b"\ndepends_on = ["a"]\n'
    + "".join(
        f'[service.c{i}]\nimage = "b"\ndepends_on = [{", ".join(f"{chr(34)}c{j}{chr(34)}" for j in range(max(0, i - 30), i))}{"," if i else ""}"a"]\n'
        for i in range(1500)
    )
    + STEP,
    "dependencies that are there twice": '[service.a]\nimage = "b"\ndepends_on = [' + '"x",' * 9_999 + "]\n" + STEP,
    "scenarios of a matrix": "[matrix]\na = " + str(list(range(1000))) + "\n"
    + _many(200, '[[scenario]]\nname = "s@"\n[[scenario.step]]\nrun = "true"\n'),
    "values of an axis": "[matrix]\na = " + str([i // 2 for i in range(9_999)]) + "\n" + STEP,
    "axes": "[matrix]\n" + _many(9_999, "a@ = [1, 2, 3]\n") + STEP,
    "a matrix of a large file": "[matrix]\na = " + str(list(range(1000))) + "\n" + _many(300, '[[step]]\nname = "s@"\nrun = "{{ matrix.a|upper }} {{ x|d(1) }}"\n'),
    "expressions that never end": "= {{ " * 50_000,
    "expressions that never end, in lines": "= {{\n" * 50_000,
    "expressions in one line": "a = [" + "{{ x }}," * 50_000 + "x\n" + STEP,
    "deep arrays": "a = " + "[" * 500_000,
    "deep tables": "a = " + "{a = " * 100_000,
    "deep keys": "a" + ".a" * 400_000 + " = 1\n" + STEP,
    "deep headers": "[a" + ".a" * 400_000 + "]\n" + STEP,
    "deep headers again and again": ("[a" + ".a" * 90 + ".@]\nb = 1\n").replace("@", "b") + _many(4_000, "[a" + ".a" * 90 + ".c@]\nb = 1\n") + STEP,
    "large file": "# " + "a" * (10 << 20) + "\n" + STEP,
    "large text": f'[[step]]\nrun = "{"a" * 1_000_000}"\n',
    "large key": "a" * 1_000_000 + " = 1\n" + STEP,
    "large key that is like another": "ste" + "p" * 500_000 + " = 1\n" + STEP,
    "large number": "a = " + "9" * 1_000_000 + "\n" + STEP,
    "large hexadecimal number": "a = 0x" + "f" * 1_000_000 + "\n" + STEP,
    "large float": "a = 1e" + "9" * 1_000_000 + "\n" + STEP,
    "large date": "a = 9999-12-31T23:59:59." + "9" * 1_000_000 + "\n" + STEP,
    "steps": '[[step]]\nrun = "true"\n' * 50_000,
    "steps that capture": _many(9_000, '[[step]]\nrun = "true"\ncapture = { v@ = { regex = "a" } }\n'),
    "steps that name what others capture": _many(
        6_000, '[[step]]\nrun = "{{ v9@ }}"\ncapture = { v@ = { regex = "a" } }\n'
    ),
    "names that are there twice": '[[scenario]]\nname = "s"\n[[scenario.step]]\nrun = "true"\n' * 9_000,
    "patterns": "".join(f'[[step]]\nrun = "true"\nexpect = {{ stdout = {{ regex = "a{{{i}}}(?i:b)" }} }}\n' for i in range(9_000)),
    "wild claims": "[test.metadata]\nname = 'x'\n" + _many(9_000, "claim@ = 1\n") + '[[steps]]\nname = "a"\ncommand = ["true"]\n',
    "wild steps": _many(9_000, '[[steps]]\nname = "s@"\ncommand = ["true"]\nexpected_output_regex = "(?<a>b)"\nclaim = 1\n'),
    "quotes": "a = '" + '"' * 900_000 + "'\n" + STEP,
    "brackets in lines": "a = [\n" * 50_000,
    "values": "a = [" + "1," * 500_000 + "]\n" + STEP,
    "tables in arrays": "a = [" + "{}," * 300_000 + "]\n" + STEP,
    "variables": "[vars]\n" + _many(9_900, "v@ = '{{ vars.v0 }}'\n").replace("'{{ vars.v0 }}'", "'x'", 1) + STEP,
    "control characters": "a = '" + "\x01" * 900_000 + "'\n" + STEP,
    "no UTF-8": "a = '\udcff'\n" * 80_000,
}  # fmt: skip
"""What is large of itself: a mistake, or read in time."""
