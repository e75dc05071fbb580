"""Random templates: mostly well-typed expressions in statements with all kinds of white space control."""

VARIABLES = {
    "text": ["s", "u", "empty", "spaces", "multi", "quote", "messages[1].content", "users[0].name"],
    "number": ["n", "neg", "zero", "f", "nf", "t", "users[1].age"],
    "list": ["l", "ls", "mixed", "nested", "empty_list", "users", "messages", "range(4)"],
    "dict": ["d", "empty_dict", "users[0]", "messages[2]"],
    "any": ["none_value", "undefined_name", "d.zz", "no", "t"],
}
LITERALS = {
    "text": ["''", "'a'", "\"it's\"", "'é\\n'", "' x '", "'o'", "'l'"],
    "number": ["0", "1", "2", "-1", "3", "1.5", "0.1", "10", "true"],
    "list": ["[]", "[1, 2, 3]", "('a', 'b')", "['x', none, 1.0]", "[[1, 'a'], [2, 'b']]"],
    "dict": ["{}", "{'a': 1}", "{'k': [1, {'z': none}], 'é': 'ü'}"],
    "any": ["none", "true", "false"],
}
KINDS = list(VARIABLES)


class Generator:
    def __init__(self, random):
        self.random = random

    def pick(self, *choices):
        return self.random.choice(choices)

    def of(self, kind, depth):
        if self.random.random() < 0.06:
            kind = self.random.choice(KINDS)  # now and then a wrong type
        if depth <= 0 or self.random.random() < 0.2:
            return self.random.choice(VARIABLES[kind] + LITERALS[kind])
        if self.random.random() < 0.08:
            return f"({self.of(kind, depth - 1)} if {self.condition(depth - 1)} else {self.of(kind, depth - 1)})"
        return getattr(self, kind)(depth - 1)

    def text(self, d):
        t, n = (lambda: self.of("text", d)), (lambda: self.of("number", d))
        return self.pick(
            lambda: f"{t()} + {t()}", lambda: f"({t()} ~ {self.of(self.random.choice(KINDS), d)})", lambda: f"({t()})[{n()}:{n()}]",
            lambda: f"({t()})[{n()}]", lambda: f"({t()})|{self.pick('upper', 'lower', 'title', 'capitalize', 'trim', 'string', 'reverse', 'first', 'last', 'indent', 'tojson')}",
            lambda: f"({t()}).{self.pick('upper', 'lower', 'title', 'strip', 'lstrip', 'rstrip', 'capitalize', 'swapcase')}()",
            lambda: f"({t()})|replace({t()}, {t()})", lambda: f"({t()}).replace({t()}, {t()}, {n()})", lambda: f"({self.of('list', d)})|join({t()})",
            lambda: f"({self.of(self.random.choice(KINDS), d)})|tojson{self.pick('', '(indent=2)', '(sort_keys=true)', '(ensure_ascii=true)')}",
            lambda: f"({self.of(self.random.choice(KINDS), d)})|string", lambda: f"({t()}) * {self.pick('0', '1', '2', '3')}", lambda: f"({t()}).strip({t()})",
            lambda: f"({t()})|default({t()}, {self.pick('true', 'false')})", lambda: f"'%s|%s' % ({t()}, {n()})", lambda: f"'{{}}-{{}}'.format({t()}, {n()})",
            lambda: f"({t()}).{self.pick('ljust', 'rjust', 'center', 'zfill')}({self.pick('3', '12', '13')})",
        )()

    def number(self, d):
        n = lambda: self.of("number", d)
        return self.pick(
            lambda: f"{n()} {self.pick('+', '-', '*', '/', '//', '%')} {n()}", lambda: f"({n()} {self.pick('+', '-', '*')} {n()})", lambda: f"-({n()})",
            lambda: f"({self.of(self.pick('text', 'list', 'dict'), d)})|{self.pick('length', 'count')}", lambda: f"({n()})|{self.pick('abs', 'int', 'float', 'round', 'round(1)')}",
            lambda: f"({self.of('text', d)})|{self.pick('int', 'float', 'wordcount')}", lambda: f"({self.of('list', d)})|{self.pick('sum', 'min', 'max', 'first', 'last')}",
            lambda: f"({self.of('text', d)}).{self.pick('find', 'count', 'rfind')}({self.of('text', d)})", lambda: f"({self.of('list', d)})[{n()}]", lambda: f"{n()} ** {self.pick('0', '1', '2', '-1')}",
        )()

    def list(self, d):
        l = lambda: self.of("list", d)
        return self.pick(
            lambda: f"[{self.of(self.random.choice(KINDS), d)}, {self.of(self.random.choice(KINDS), d)}]", lambda: f"({self.of('text', d)}, {self.of('number', d)})", lambda: f"({l()}) + {l()}",
            lambda: f"({l()})[{self.of('number', d)}:]", lambda: f"({l()})[::{self.pick('-1', '2', '-2')}]", lambda: f"({l()})|{self.pick('sort', 'list', 'unique|list', 'reverse|list', 'select|list', 'reject|list')}",
            lambda: f"({self.of('text', d)}).{self.pick('split', 'rsplit')}({self.pick('', self.of('text', d), self.of('text', d) + ', 1')})", lambda: f"({self.of('text', d)}).splitlines()",
            lambda: f"({l()})|map({self.pick(chr(39) + 'string' + chr(39), chr(39) + 'length' + chr(39), chr(39) + 'upper' + chr(39), 'attribute=' + chr(39) + 'name' + chr(39), 'attribute=0')})|list",
            lambda: f"({l()})|{self.pick('select', 'reject')}({self.pick(chr(39) + 'string' + chr(39), chr(39) + 'number' + chr(39), chr(39) + 'none' + chr(39), chr(39) + 'in' + chr(39) + ', ls')})|list",
            lambda: f"({self.of('dict', d)}){self.pick('.keys()', '.values()', '.items()', '|items', '|dictsort')}|list", lambda: f"({l()})|batch({self.pick('1', '2', '3')})|list",
            lambda: f"({l()})|selectattr('{self.pick('name', 'role', 'zz')}'{self.pick('', ', ' + chr(39) + 'defined' + chr(39))})|list",
        )()

    def dict(self, d):
        return self.pick(
            lambda: f"{{{self.pick(*LITERALS['text'])}: {self.of(self.random.choice(KINDS), d)}, 'k': {self.of('number', d)}}}", lambda: f"dict({self.of('dict', d)}, z={self.of('number', d)})",
            lambda: f"dict(({self.of('dict', d)}).items())", lambda: f"({self.of('dict', d)}).copy()", lambda: f"({self.of('list', d)})|first",
        )()

    def any(self, d):
        return self.pick(
            lambda: self.condition(d), lambda: f"({self.of('dict', d)}).get({self.of('text', d)})", lambda: f"({self.of('dict', d)})[{self.of('text', d)}]", lambda: f"({self.of('list', d)})|{self.pick('first', 'last', 'min', 'max')}",
            lambda: f"({self.of(self.random.choice(KINDS), d)}) {self.pick('and', 'or')} ({self.of(self.random.choice(KINDS), d)})", lambda: f"({self.of('any', d)})|default({self.of('text', d)})", lambda: f"({self.of('dict', d)}).{self.pick('a', 'k', 'name', 'zz')}",
        )()

    def condition(self, d):
        kind = self.random.choice(KINDS)
        value = lambda: self.of(kind, d)
        return self.pick(
            lambda: f"{value()} {self.pick('==', '!=', '<', '<=', '>', '>=')} {value()}", lambda: f"{value()} {self.pick('in', 'not in')} ({self.of(self.pick('list', 'dict', 'text'), d)})",
            lambda: f"({value()}) is {self.pick('', 'not ')}{self.pick('defined', 'none', 'string', 'mapping', 'iterable', 'sequence', 'number', 'integer', 'float', 'boolean', 'true', 'false', 'odd', 'lower')}",
            lambda: f"not ({value()})", lambda: f"({self.of('text', d)}).{self.pick('startswith', 'endswith')}({self.of('text', d)})", lambda: value(),
            lambda: f"1 {self.pick('<', '<=')} {self.of('number', d)} {self.pick('<', '==')} {self.of('number', d)}",
        )()

    def open(self):
        return self.pick("{%", "{%", "{%-", "{%+")

    def close(self):
        return self.pick("%}", "%}", "-%}", "+%}")

    def space(self):
        return self.pick("", "", " ", "\n", "\n  ", "  \n", "x", "x \n ", "\t", "\n\n")

    def tag(self, content):
        return f"{self.space()}{self.open()} {content} {self.close()}{self.space()}"

    def output(self, depth):
        return f"{self.pick('{{', '{{', '{{-')} {self.of(self.random.choice(KINDS), depth)} {self.pick('}}', '}}', '-}}')}"

    def body(self, depth):
        return "".join(self.statement(depth) for _ in range(self.pick(1, 1, 2)))

    def statement(self, depth):
        if depth <= 0:
            return self.space() + self.output(1)
        d = depth - 1
        return self.pick(
            lambda: self.space() + self.output(3), lambda: self.space() + self.output(2),
            lambda: self.tag(f"if {self.condition(1)}") + self.body(d) + self.pick("", self.tag("else") + self.body(d)) + self.tag("endif"),
            lambda: self.tag(f"for x in {self.of('list', 1)}{self.pick('', '', ' if ' + self.pick('x', 'x is string', 'not x'))}") + self.pick("", "{{ loop.index }}{{ loop.last }}", "{{ x }}") + self.body(d) + self.tag("endfor"),
            lambda: self.tag(f"set v = {self.of(self.random.choice(KINDS), 2)}") + "{{ v }}",
            lambda: self.tag("set v") + self.body(d) + self.tag("endset") + "[{{ v }}]", lambda: self.tag("filter upper") + self.body(d) + self.tag("endfilter"),
            lambda: self.tag("macro m(x, y=1)") + "{{ x }}{{ y }}" + self.body(d) + self.tag("endmacro") + f"{{{{ m({self.of('text', 1)}) }}}}",
            lambda: self.space() + self.pick("{# c #}", "{#- c -#}", "{#+ c +#}") + self.space(),
        )()


def random_templates(random, count):
    generator = Generator(random)
    for _ in range(count):
        yield generator.body(3)
