"""Every rule that is reported: how grave it is, what it is called, and why somebody should care.

Which rules of ruff are asked for is decided here alone; what a tool says beyond this table keeps the tool's own words.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from pegboard_codeanalysis.analysis.model import Severity


class Rule(NamedTuple):
    """One rule."""

    severity: Severity
    title: str
    advice: str
    """Why it matters, and what to do."""


LINT: Final[dict[str, Rule]] = {
    "F502": Rule("high", "a `%` format with names gets no mapping", "It raises when the line is reached."),
    "F507": Rule("high", "a `%` format gets more or fewer values than it takes", "It raises when the line is reached."),
    "F524": Rule("high", "`str.format` misses an argument", "It raises when the line is reached."),
    "F601": Rule("medium", "a key twice in a dictionary", "The last one wins: what stands with the first is lost."),
    "F631": Rule("medium", "an assert on a tuple never fails", "Take the parentheses away."),
    "F632": Rule("medium", "`is` compares with a literal", "It asks for identity, which for equal values is chance."),
    "F633": Rule("high", "`>>` on `print`", "It is Python 2, and raises today."),
    "F634": Rule("medium", "an `if` on a tuple always holds", "Take the parentheses away."),
    "F701": Rule("high", "`break` outside of a loop", "It is a syntax error."),
    "F702": Rule("high", "`continue` outside of a loop", "It is a syntax error."),
    "F704": Rule("high", "`yield` or `await` outside of a function", "It is a syntax error."),
    "F706": Rule("high", "`return` outside of a function", "It is a syntax error."),
    "F811": Rule("medium", "a name is defined again before it was used", "The first definition can never be reached."),
    "F821": Rule("high", "an undefined name", "It raises `NameError` when the line is reached."),
    "F822": Rule("medium", "`__all__` names what is not there", "`from module import *` raises."),
    "F823": Rule("high", "a local name is used before it is assigned", "It raises `UnboundLocalError`."),
    "F401": Rule("low", "an import that nothing uses", "Remove it; one that is there for others belongs in `__all__`."),
    "F402": Rule("medium", "a loop variable hides an import", "After the loop the name is something else."),
    "F403": Rule("low", "`import *`", "No tool can tell any more where a name comes from, nor that it is missing."),
    "F541": Rule("note", "an f-string without a placeholder", "Drop the `f`, or put in what was meant to be there."),
    "F841": Rule("low", "a value is assigned and never used", "Either it is left over, or it was meant to be used."),
    "B002": Rule("medium", "`++` does nothing", "Python has no increment; this is the number itself, twice."),
    "B003": Rule("medium", "`os.environ` is assigned", "The environment of child processes does not change with it."),
    "B005": Rule("medium", "`strip` with several characters", "It strips any of them, not the word: `removeprefix`."),
    "B006": Rule("medium", "a mutable default argument", "All calls share it, so one call changes the next."),
    "B008": Rule("low", "a call in a default argument", "It is made once, when the function is defined."),
    "B012": Rule("medium", "`return`, `break` or `continue` in `finally`", "It swallows whatever was raised."),
    "B013": Rule("note", "a tuple of one exception", "Write the exception alone."),
    "B015": Rule("medium", "a comparison whose result is dropped", "An `assert` or an assignment is missing."),
    "B016": Rule("medium", "a literal is raised", "It is a `TypeError` instead of what was meant."),
    "B017": Rule("low", "a test expects any exception", "It passes with a typing mistake too: name the exception."),
    "B018": Rule("low", "an expression whose value is dropped", "It does nothing, or stands there for its effect."),
    "B019": Rule("medium", "a cache on a method", "It keeps each instance alive for as long as the cache holds it."),
    "B020": Rule("low", "a loop overwrites what it goes over", "The name means something else after the first round."),
    "B021": Rule("low", "an f-string as docstring", "It is no docstring: nothing shows it."),
    "B022": Rule("low", "`suppress` without an exception", "It suppresses nothing."),
    "B023": Rule("medium", "a function in a loop uses the loop variable", "All of them see its last value."),
    "B025": Rule("medium", "an exception is caught twice", "The second handler is never reached."),
    "B026": Rule("low", "`*args` after a keyword argument", "It fills positions that look taken."),
    "B029": Rule("medium", "`except ()` catches nothing", "Name the exceptions."),
    "B030": Rule("medium", "`except` with something that is no exception", "It raises `TypeError` when it is reached."),
    "B031": Rule("medium", "a group of `groupby` is used twice", "It is empty the second time."),
    "B033": Rule("low", "a value twice in a set", "One of the two was meant to be something else."),
    "B035": Rule("medium", "a dictionary comprehension with a constant key", "Only the last entry survives."),
    "B039": Rule("medium", "a mutable default of a `ContextVar`", "All contexts share it."),
    "B904": Rule("low", "raised inside `except` without `from`", "The cause reads as an accident: `raise … from exc`."),
    "B909": Rule("medium", "a loop changes what it goes over", "Items are left out, it raises, or it never ends."),
    "PLE0100": Rule("high", "`yield` in `__init__`", "The object cannot be made."),
    "PLE0101": Rule("high", "`return` with a value in `__init__`", "Making the object raises `TypeError`."),
    "PLE0241": Rule("high", "a base class twice", "The class cannot be made."),
    "PLE0302": Rule("medium", "a special method with wrong parameters", "It raises when Python calls it."),
    "PLE0643": Rule("high", "an index beyond what is there", "It raises `IndexError`."),
    "PLE0704": Rule("low", "`raise` without an exception outside of `except`", "It works only inside a handler."),
    "PLE1142": Rule("high", "`await` outside of an async function", "It is a syntax error."),
    "PLE1205": Rule("medium", "more arguments than the log message takes", "The message is lost, and an error shown."),
    "PLE1206": Rule("medium", "fewer arguments than the log message takes", "The message is lost, and an error shown."),
    "PLE1307": Rule("medium", "a `%` format of the wrong type", "It raises when the line is reached."),
    "PLE1310": Rule("low", "`strip` with a character twice", "It strips characters, not the word."),
    "PLE1519": Rule("medium", "`singledispatch` on a method", "It dispatches on `self`."),
    "PLE2502": Rule("low", "a character that turns the direction of text", "What is read is not what is run."),
    "PLW0127": Rule("low", "a name is assigned to itself", "It does nothing."),
    "PLW0129": Rule("medium", "an assert on a literal text", "The condition is missing: it never depends on anything."),
    "PLW0133": Rule("medium", "an exception is made and not raised", "`raise` is missing."),
    "PLW0406": Rule("medium", "a module imports itself", "What it sees is half of itself."),
    "PLW1508": Rule("low", "a default of `os.getenv` that is no text", "The type depends on the environment."),
    "PLW1509": Rule("medium", "`preexec_fn` with threads", "The child may hang for ever."),
    "ASYNC100": Rule("medium", "a time limit around nothing that waits", "It can never strike."),
    "ASYNC210": Rule("medium", "a blocking HTTP call in an async function", "The whole event loop waits for it."),
    "ASYNC220": Rule("medium", "a process is started blockingly in an async function", "The event loop waits for it."),
    "ASYNC222": Rule("medium", "a process is waited for in an async function", "The whole event loop waits for it."),
    "ASYNC230": Rule("low", "a file is opened in an async function", "The event loop waits for the disk."),
    "ASYNC251": Rule("medium", "`time.sleep` in an async function", "The whole event loop sleeps."),
    "RUF006": Rule("medium", "a task that nobody holds", "The garbage collector may end it in the middle of its work."),
    "RUF008": Rule("medium", "a mutable default in a dataclass", "It raises, or all share it: `default_factory`."),
    "RUF009": Rule("low", "a call as default in a dataclass", "It is made once for all instances."),
    "RUF016": Rule("high", "an index of a type that does not fit", "It raises `TypeError`."),
    "RUF018": Rule("low", "an assignment in an assert", "With `-O` it does not happen."),
    "RUF024": Rule("medium", "`dict.fromkeys` with a mutable value", "All keys share it."),
    "S110": Rule("low", "an exception is passed over in silence", "What goes wrong here is never heard of."),
}  # fmt: skip
SPEED: Final[dict[str, Rule]] = {
    "B019": LINT["B019"],
    "ASYNC210": LINT["ASYNC210"],
    "ASYNC220": LINT["ASYNC220"],
    "ASYNC222": LINT["ASYNC222"],
    "ASYNC230": LINT["ASYNC230"],
    "ASYNC251": LINT["ASYNC251"],
    "PERF101": Rule("low", "a list is made only to be gone over", "Go over what is there."),
    "PERF401": Rule("note", "a list is filled in a loop", "A comprehension is faster and shorter."),
    "PERF402": Rule("note", "a list is copied in a loop", "`list(…)` or `.copy()`."),
    "PERF403": Rule("note", "a dictionary is filled in a loop", "A comprehension is faster and shorter."),
    "C419": Rule("low", "a list inside `any` or `all`", "It is built whole before the first item is looked at."),
    "C414": Rule("note", "a collection is made twice", "The inner one is thrown away."),
    "C416": Rule("note", "a comprehension that only copies", "`list(…)` does the same."),
    "RUF015": Rule("low", "a list is made for its first item", "`next(iter(…))` looks at one."),
    "RUF017": Rule("medium", "lists are summed", "It copies everything again for each list: quadratic."),
    "PLR1714": Rule("note", "several comparisons with one value", "`in` asks once."),
    "SIM118": Rule("note", "`key in d.keys()`", "`key in d` is the same."),
}  # fmt: skip
_ENTITIES: Final = "With expat before 2.4.1 a small file fills the memory: a newer Python, or `defusedxml`."
_HASH: Final = (
    "a weak hash",
    "MD5 and SHA-1 collide at will: not for passwords, signatures or tokens; elsewhere `usedforsecurity=False`.",
)  # fmt: skip
BANDIT: Final[dict[str, tuple[str, str]]] = {
    "B102": ("`exec` is used", "Whatever reaches it is run. Make sure that no input can."),
    "B103": ("file permissions that let others write", "Any user of the machine can change the file."),
    "B104": ("a service binds to all interfaces", "It is reachable from outside of the machine."),
    "B108": ("a fixed path in a shared temporary folder", "Others can put a link there first: `tempfile`."),
    "B110": ("an exception is passed over in silence", "What goes wrong here is never heard of."),
    "B113": ("a request without a time limit", "It waits for ever when the other side does."),
    "B201": ("a web server with its debugger on", "The debugger runs whatever a visitor types."),
    "B202": ("an archive is unpacked unchecked", "A name in it can lead out of the folder: `filter=\"data\"`."),
    "B301": ("`pickle` reads data", "Loading runs code that the data chooses. Use JSON for what comes from outside."),
    "B302": ("`marshal` reads data", "It was not made for data of others."),
    "B303": _HASH,
    "B304": ("a broken cipher", "Use AES in an authenticated mode."),
    "B305": ("a cipher mode that shows patterns", "ECB: use an authenticated mode."),
    "B306": ("`mktemp`", "The name can be taken between asking and opening: `mkstemp`."),
    "B307": ("`eval` is used", "Whatever reaches it is run: `ast.literal_eval` for literals."),
    "B308": ("text is marked as safe HTML", "Escaping is off from there on: is every part of it escaped before?"),
    "B310": ("a URL is opened with any scheme", "`file:` reads local files. Check the scheme first."),
    "B311": ("a random number that can be guessed", "For anything secret: `secrets`."),
    "B313": ("XML is read with a parser that trusts it", _ENTITIES),
    "B314": ("XML is read with a parser that trusts it", _ENTITIES),
    "B318": ("XML is read with a parser that trusts it", _ENTITIES),
    "B319": ("XML is read with a parser that trusts it", _ENTITIES),
    "B323": ("TLS without checking the certificate", "Anybody on the way can read and change everything."),
    "B324": _HASH,
    "B501": ("a request that does not check the certificate", "Anybody on the way can read and change everything."),
    "B502": ("an old version of TLS", "It is broken: let the library choose."),
    "B506": ("`yaml.load` without a safe loader", "Loading runs code that the file chooses: `safe_load`."),
    "B507": ("SSH accepts any host key", "Anybody on the way can pose as the host."),
    "B601": ("a shell command over SSH", "Quote every part that comes from outside."),
    "B602": ("a shell runs a command", "Any part from outside can add commands: a list of arguments, no shell."),
    "B604": ("a call with `shell=True`", "Any part from outside can add commands."),
    "B605": ("a shell is started", "Any part from outside can add commands: `subprocess.run([…])`."),
    "B608": ("SQL is put together as text", "Where a part comes from outside it is an injection: use parameters."),
    "B609": ("a wildcard in a shell command", "File names can be taken for options."),
    "B610": ("SQL by `extra` of an ORM", "Where a part comes from outside it is an injection."),
    "B611": ("SQL by `RawSQL` of an ORM", "Where a part comes from outside it is an injection."),
    "B613": ("a character that turns the direction of text", "What is read is not what is run."),
    "B614": ("a PyTorch file is loaded unsafely", "Loading runs code that the file chooses: `weights_only=True`."),
    "B615": ("a model is downloaded without a pinned version", "What it is can change under the same name."),
    "B701": ("templates without escaping", "Texts of others become HTML: `autoescape=True`."),
    "B703": ("text is marked as safe HTML", "Escaping is off from there on: is every part of it escaped before?"),
}  # fmt: skip
OWN: Final[dict[str, Rule]] = {
    "syntax": Rule("high", "a file that cannot be parsed", "No Python can run it, and no tool looks into it."),
    "import-cycle": Rule(
        "medium", "modules that import one another in a circle",
        "Which of them works depends on which is imported first; none can be tested or moved alone.",
    ),
    "hot-spot": Rule(
        "medium", "complex code that is changed all the time",
        "Faults gather where both meet: refactoring pays here first.",
    ),
    "complexity": Rule("low", "a function that is hard to follow", "Split it by idea; test each part by itself."),
    "unreachable": Rule("low", "code that is never reached", "It misleads readers, or a condition is wrong."),
    "unused": Rule("low", "a private name that nothing uses", "Remove it; nothing in the repository mentions it."),
    "untested": Rule(
        "low", "a complex module for which no test was found",
        "Unless a test gets there another way, nothing tells when it breaks.",
    ),
    "secret-key": Rule(
        "high", "a key in the source",
        "It is in every copy of the repository for ever: call it back, and read a new one from outside.",
    ),
    "secret-password": Rule(
        "medium", "a text that looks like a password", "It is in every copy of the repository: read it from outside.",
    ),
    "open-api": Rule(
        "note", "what a module offers cannot be told",
        "Its `__all__` is put together when it runs, so documentation of what it hands on is not counted.",
    ),
    "no-tests": Rule("medium", "there are no tests", "Nothing tells when a change breaks it."),
    "undocumented": Rule("low", "public objects without documentation", "Users have to read the source."),
    "dead-link": Rule("low", "a link in the documentation leads nowhere", "Mend it or take it away."),
    "nested-loop": Rule(
        "low", "a loop over the same data inside a loop",
        "The time grows with the square of the data: a dictionary or a set often spares the inner loop.",
    ),
    "list-search": Rule(
        "low", "a list is searched in a loop",
        "Each search goes through the list from its beginning: a set answers at once.",
    ),
    "open-in-loop": Rule(
        "medium", "the same is opened in every round", "Once before the loop is enough: a connection or a file costs.",
    ),
    "no-readme": Rule("low", "there is no README", "Nobody is told what this is, nor how to start."),
    "coupled": Rule(
        "note", "files that change together without importing one another",
        "Something ties them that the code does not say.",
    ),
    "api-removed": Rule("medium", "a public object is gone", "Whoever uses it breaks: keep a name that warns."),
    "complexity-rise": Rule("low", "a function became harder to follow", "Split it before it grows further."),
    "no-test-changed": Rule("note", "code is changed and no test is", "Is the new behaviour tested anywhere?"),
}  # fmt: skip


_TELLING: Final = frozenset(("B103",))
"""Of bandit, whose words name what was found."""
_NAMING: Final = frozenset(
    ("F401", "F402", "F811", "F821", "F822", "F823", "F841", "B020", "B023", "B033", "B909", "PLW0127")
)
"""Of ruff, whose words name something that is there, first of all in backticks."""
_NAME: Final = re.compile("`[^`]+`")


def told(tool: str, name: str, message: str) -> str:
    """What a finding says: what the rule is called, and what it is about where the tool names that."""
    title = _capital(rule_of(tool, name, message).title)
    if tool == "bandit":
        return message if name in _TELLING or name not in BANDIT else title
    named = _NAME.search(message) if name in _NAMING else None
    return f"{title}: {named[0]}" if named else title


def beyond(title: str, message: str) -> str:
    """What a message says beyond the title of its rule."""
    rest = message[len(title) :].removeprefix(": ")
    return rest if message.lower().startswith(title.lower()) else message


def _capital(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}"


def rule_of(tool: str, name: str, message: str = "") -> Rule:
    """What is known of a rule; of one that is not in the tables, what the tool itself says."""
    if tool == "bandit" and name in BANDIT:
        title, advice = BANDIT[name]
        return Rule("medium", title, advice)
    if tool == "ruff":
        known = LINT.get(name) or SPEED.get(name)
        if known is not None:
            return known
    if name in OWN:
        return OWN[name]
    first = message.partition(". ")[0].strip() or name
    return Rule("note", first[:1].lower() + first[1:].rstrip("."), "")
