"""Small changes of Python source, as a slip of the hand would make them; `mutants.py` applies them.

Messages, annotations, decorators and docstrings are left alone: no test needs to hold their words.
"""

import ast
import copy
import dataclasses
from collections.abc import Iterator

COMPARISONS = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
ARITHMETIC = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Pow: ast.Mult,
    ast.FloorDiv: ast.Mult, ast.Mod: ast.FloorDiv, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
}  # fmt: skip
PAIRS = [
    ("min", "max"), ("minimum", "maximum"), ("amin", "amax"), ("argmin", "argmax"), ("sum", "mean"),
    ("any", "all"), ("floor", "ceil"), ("zeros", "ones"), ("zeros_like", "ones_like"),
    ("startswith", "endswith"), ("exp", "log"), ("rows", "columns"),
]  # fmt: skip
SWAPS = {a: b for a, b in PAIRS} | {b: a for a, b in PAIRS} | {"fullmatch": "match"}
DROPPED = {
    "sorted", "abs", "absolute", "reversed", "set", "round", "sqrt", "exp", "log", "lower", "upper",
    "casefold", "strip", "rstrip", "lstrip", "relu", "clip", "clamp", "copy", "clone", "resolve",
    "normalize", "softmax", "square", "unique", "nan_to_num", "flip", "cumsum", "transpose",
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Mutation:
    """One change: the text between two places of a module becomes another."""

    module: str  # as in "data/splits.py"
    function: str  # its qualified name; empty at the module's top
    statement: str  # the first line of the statement changed
    line: int
    start: int  # in bytes of the source
    end: int
    old: str
    new: str
    at_import: bool  # when the statement runs
    names: tuple[str, ...]  # what it then defines
    in_brackets: bool  # an expression
    nth: int = 0  # of those that read the same

    @property
    def key(self) -> str:
        """What stays the same when other lines change."""
        again = f" ({self.nth})" if self.nth else ""
        where = f"{self.module} {self.function or 'top'}: `{self.statement}`"
        return f"{where}: {self.old} → {self.new}{again}"

    @property
    def place(self) -> str:
        return place(self.module, self.function, self.statement)

    def applied(self, source: str) -> str:
        """The changed source; no other statement is on another line."""
        data = source.encode()
        gone = data[self.start : self.end].count(b"\n") * "\n"
        new = f"({self.new}{gone})" if self.in_brackets else self.new + gone
        return (data[: self.start] + new.encode() + data[self.end :]).decode()


def place(module: str, function: str, statement: str) -> str:
    return f"{module}|{function}|{statement}"


def variants(node: ast.AST) -> Iterator[ast.AST | str]:
    """Nodes, or source, to stand in a node's place."""
    match node:
        case ast.Compare(ops=[operator]):
            yield _with(node, ops=[COMPARISONS[type(operator)]()])
        case ast.BinOp(left, operator, right) if type(operator) in ARITHMETIC:
            texts = [isinstance(side, ast.JoinedStr) or (isinstance(side, ast.Constant)
                     and isinstance(side.value, str)) for side in (left, right)]  # fmt: skip
            if not any(texts):
                yield _with(node, op=ARITHMETIC[type(operator)]())
        case ast.BoolOp(operator, values):
            yield _with(node, op=ast.Or() if isinstance(operator, ast.And) else ast.And())
            for i in range(len(values)):
                rest = values[:i] + values[i + 1 :]
                yield rest[0] if len(rest) == 1 else _with(node, values=rest)
        case ast.UnaryOp(ast.Not() | ast.USub(), operand):
            yield operand
        case ast.Constant(bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(int(value)):
            yield ast.Constant(value + 1)
            if value > 1:
                yield ast.Constant(value - 1)
        case ast.Constant(float(value)):
            yield ast.Constant(round(value * 1.25, 12) if value else 1.0)
            if value:
                yield ast.Constant(value * 0.75)
        case ast.Dict(keys, values) if len(values) > 1 and None not in keys:
            for i in range(len(values) - 1):
                order = [*values[:i], values[i + 1], values[i], *values[i + 2 :]]
                if ast.dump(values[i]) != ast.dump(values[i + 1]):
                    yield _with(node, values=order)
        case ast.Subscript(ast.Name(), ast.Name() | ast.Subscript() as index, ast.Load()):
            yield index
        case ast.Slice(lower, upper):
            for name, bound in (("lower", lower), ("upper", upper)):
                if bound is not None and not isinstance(bound, ast.Constant):
                    one = ast.BinOp(bound, ast.Add(), ast.Constant(1))
                    yield ast.unparse(_with(node, **{name: one}))
        case ast.Call(function, arguments, keywords):
            yield from _calls(node, function, arguments, keywords)
        case ast.IfExp(_, body, orelse):
            yield _with(node, body=orelse, orelse=body)
        case ast.Raise() | ast.Expr(ast.Call()) | ast.Break() | ast.Continue():
            yield "pass"
        case ast.AugAssign(operator=_, op=operator) if type(operator) in ARITHMETIC:
            yield _with(node, op=ARITHMETIC[type(operator)]())


def _calls(node: ast.Call, function: ast.expr, arguments: list[ast.expr],
           keywords: list[ast.keyword]) -> Iterator[ast.AST]:  # fmt: skip
    name = getattr(function, "attr", getattr(function, "id", ""))
    if name in SWAPS:
        changed = copy.copy(function)
        setattr(changed, "attr" if isinstance(function, ast.Attribute) else "id", SWAPS[name])
        yield _with(node, func=changed)
    if name in DROPPED:
        module = isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name) \
            and function.value.id in ("np", "torch", "math", "functional", "cv2")  # fmt: skip
        if isinstance(function, ast.Attribute) and not module:
            yield function.value
        elif arguments and not isinstance(arguments[0], ast.Starred | ast.GeneratorExp):
            yield arguments[0]
    if name[:1].isupper():  # a class, which has what it must have
        for i in range(len(keywords) - 1):
            (one, other), rest = keywords[i : i + 2], keywords[i + 2 :]
            if ast.dump(one.value) != ast.dump(other.value):
                exchanged = [_with(one, value=other.value), _with(other, value=one.value)]
                yield _with(node, keywords=[*keywords[:i], *exchanged, *rest])
        return
    for i, keyword in enumerate(keywords):
        if keyword.arg and name != "errstate":
            yield _with(node, keywords=keywords[:i] + keywords[i + 1 :])


def _with(node: ast.AST, **fields: object) -> ast.AST:
    changed = copy.copy(node)
    for name, value in fields.items():
        setattr(changed, name, value)
    return changed


def mutations(module: str, source: str) -> list[Mutation]:
    """All changes of one module's source."""
    lines = source.encode().splitlines(keepends=True)
    begins = [0]
    for line in lines:
        begins.append(begins[-1] + len(line))
    found: list[Mutation] = []
    keys: set[str] = set()

    def add(node: ast.AST, new: ast.AST | str, function: str, statement: ast.stmt,
            at_import: bool) -> None:  # fmt: skip
        start = begins[node.lineno - 1] + node.col_offset
        end = begins[node.end_lineno - 1] + node.end_col_offset
        old = source.encode()[start:end].decode()
        text = new if isinstance(new, str) else ast.unparse(new)
        first = lines[statement.lineno - 1].decode().strip()
        names = _defined(statement) if at_import else ()
        own = Mutation(module, function, first, node.lineno, start, end, " ".join(old.split()),
                       text, at_import, names, isinstance(new, ast.expr))  # fmt: skip
        while own.key in keys:
            own = dataclasses.replace(own, nth=own.nth + 1)
        keys.add(own.key)
        found.append(own)

    def walk(node: ast.AST, function: str, statement: ast.stmt | None, at_import: bool) -> None:
        if isinstance(node, ast.stmt):
            statement = node
        if statement is not None and hasattr(node, "lineno") and not _left_alone(node):
            for new in variants(node):
                add(node, new, function, statement, at_import)
        if _left_alone(node):
            return
        if isinstance(node, ast.If | ast.While):
            add(node.test, ast.UnaryOp(ast.Not(), node.test), function, statement, at_import)
            if isinstance(node, ast.If) and not node.orelse:
                add(node.test, ast.Constant(False), function, statement, at_import)
        if isinstance(node, ast.comprehension):
            for test in node.ifs:
                add(test, ast.Constant(True), function, statement, at_import)
        inside = function
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            inside = f"{function}.{node.name}".lstrip(".")
        for field, value in ast.iter_fields(node):
            if field in ("annotation", "returns", "decorator_list", "type_params"):
                continue
            in_body = field == "body" and isinstance(node, ast.FunctionDef | ast.ClassDef)
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    run_later = in_body and isinstance(node, ast.FunctionDef)
                    walk(child, inside if in_body else function, statement,
                         at_import and not run_later)  # fmt: skip

    walk(ast.parse(source), "", None, True)
    return found


def _left_alone(node: ast.AST) -> bool:
    """Messages, whole statements of import, and what is never run."""
    if isinstance(node, ast.JoinedStr | ast.Import | ast.ImportFrom):
        return True
    if isinstance(node, ast.Call):
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        return name.endswith(("Error", "Warning")) or name in ("warn", "cast", "TypeVar")
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)


def _defined(statement: ast.stmt) -> tuple[str, ...]:
    """The names that a statement at the top gives to others."""
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return (statement.name,)
    return tuple(
        node.id
        for node in ast.walk(statement)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    )


def instrumented(module: str, source: str) -> ast.Module:
    """The module, each of whose functions' statements says its place to ``mutants_reach`` first."""
    tree = ast.parse(source)
    lines = source.splitlines()

    def walk(node: ast.AST, function: str, runs: bool) -> None:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            function = f"{function}.{node.name}".lstrip(".")
            runs = runs or isinstance(node, ast.FunctionDef)
        for field, value in ast.iter_fields(node):
            if not isinstance(value, list):
                continue
            for child in value:
                if isinstance(child, ast.AST):
                    walk(child, function, runs)
            if runs and value and isinstance(value[0], ast.stmt):
                told: list[ast.stmt] = []
                for i, child in enumerate(value):
                    docstring = i == 0 and isinstance(child, ast.Expr) \
                        and isinstance(child.value, ast.Constant)  # fmt: skip
                    if not docstring:
                        where = place(module, function, lines[child.lineno - 1].strip())
                        call = ast.Call(ast.Name("mutants_reach", ast.Load()),
                                        [ast.Constant(where)], [])  # fmt: skip
                        told.append(ast.copy_location(ast.Expr(call), child))
                    told.append(child)
                setattr(node, field, told)

    walk(tree, "", False)
    return ast.fix_missing_locations(tree)
