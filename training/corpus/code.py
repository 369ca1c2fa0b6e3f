# ruff: noqa: E501 - one wording a line, however long
"""Small Python functions with docstring, and explanations of code.

Every task carries one call and its result: evaluation runs the generated code and compares.
"""

from __future__ import annotations

from dataclasses import dataclass

from .source import Document, Source, ask, both


@dataclass(frozen=True, slots=True)
class Task:
    """A function: name, parameters, what it returns (en, ja), body lines, a call, its result."""

    name: str
    parameters: str
    en: str
    ja: str
    body: tuple[str, ...]
    call: str
    result: str


def _tasks(text: str) -> tuple[Task, ...]:
    tasks = []
    for block in text.strip().split("\n\n"):
        head, en, ja, check, *body = block.splitlines()
        name, parameters = head.rstrip(")").split("(")
        call, result = check.split(" -> ")
        tasks.append(Task(name.strip(), parameters, en.strip(), ja.strip(), tuple(body), call.strip(), result.strip()))
    return tuple(tasks)


# Head, English, Japanese, check, body. {0} and {1} in the body are the parameters.
TASKS = _tasks("""
add(a, b)
the sum of two numbers
二つの数の和
(2, 3) -> 5
return {0} + {1}

subtract(a, b)
the difference of two numbers
二つの数の差
(7, 3) -> 4
return {0} - {1}

multiply(a, b)
the product of two numbers
二つの数の積
(4, 5) -> 20
return {0} * {1}

maximum(a, b)
the larger of two numbers
二つの数の大きい方
(4, 9) -> 9
if {0} > {1}:
    return {0}
return {1}

minimum(a, b)
the smaller of two numbers
二つの数の小さい方
(4, 9) -> 4
if {0} < {1}:
    return {0}
return {1}

is_even(n)
whether a number is even
数が偶数かどうか
(6,) -> True
return {0} % 2 == 0

is_odd(n)
whether a number is odd
数が奇数かどうか
(6,) -> False
return {0} % 2 == 1

square(x)
the square of a number
数の二乗
(5,) -> 25
return {0} * {0}

cube(x)
the cube of a number
数の三乗
(3,) -> 27
return {0} ** 3

factorial(n)
the factorial of a number
数の階乗
(5,) -> 120
result = 1
for i in range(2, {0} + 1):
    result *= i
return result

fibonacci(n)
the nth Fibonacci number
n番目のフィボナッチ数
(7,) -> 13
a, b = 0, 1
for _ in range({0}):
    a, b = b, a + b
return a

total(values)
the sum of a list
リストの合計
([1, 2, 3],) -> 6
result = 0
for item in {0}:
    result += item
return result

average(values)
the average of a list
リストの平均
([2, 4, 6],) -> 4
return sum({0}) / len({0})

reverse(text)
the reverse of a string
逆にした文字列
("abc",) -> "cba"
return {0}[::-1]

is_palindrome(text)
whether a string is a palindrome
文字列が回文かどうか
("level",) -> True
return {0} == {0}[::-1]

count_vowels(text)
the number of vowels in a string
文字列の母音の数
("banana",) -> 3
count = 0
for letter in {0}:
    if letter in "aeiou":
        count += 1
return count

largest(values)
the largest item of a list
リストの最大値
([3, 8, 5],) -> 8
result = {0}[0]
for item in {0}:
    if item > result:
        result = item
return result

smallest(values)
the smallest item of a list
リストの最小値
([3, 8, 5],) -> 3
result = {0}[0]
for item in {0}:
    if item < result:
        result = item
return result

is_prime(n)
whether a number is prime
数が素数かどうか
(13,) -> True
if {0} < 2:
    return False
for i in range(2, {0}):
    if {0} % i == 0:
        return False
return True

gcd(a, b)
the greatest common divisor of two numbers
二つの数の最大公約数
(12, 18) -> 6
while {1}:
    {0}, {1} = {1}, {0} % {1}
return {0}

celsius_to_fahrenheit(c)
a temperature in Fahrenheit from Celsius
摂氏から華氏にした温度
(100,) -> 212
return {0} * 9 / 5 + 32

circle_area(r)
the area of a circle
円の面積
(0,) -> 0
return 3.14159 * {0} * {0}

count_words(text)
the number of words in a string
文字列の単語の数
("a b c",) -> 3
return len({0}.split())

first(values)
the first item of a list
リストの最初の要素
([4, 5],) -> 4
return {0}[0]

last(values)
the last item of a list
リストの最後の要素
([4, 5],) -> 5
return {0}[-1]

even_numbers(values)
the even numbers of a list
リストの中の偶数
([1, 2, 4],) -> [2, 4]
return [item for item in {0} if item % 2 == 0]

squares(values)
the squares of the items of a list
リストの各要素の二乗
([1, 2, 3],) -> [1, 4, 9]
return [item * item for item in {0}]

unique(values)
the items of a list without duplicates
重複のないリスト
([1, 1, 2],) -> [1, 2]
result = []
for item in {0}:
    if item not in result:
        result.append(item)
return result

power(a, b)
a number raised to a power
数の累乗
(2, 5) -> 32
return {0} ** {1}

absolute(x)
the absolute value of a number
数の絶対値
(-4,) -> 4
if {0} < 0:
    return -{0}
return {0}

contains(values, item)
whether a list contains an item
リストに要素が含まれるかどうか
([1, 2], 2) -> True
return {1} in {0}

upper(text)
a string in upper case
大文字にした文字列
("abc",) -> "ABC"
return {0}.upper()

repeat(text, n)
a string repeated n times
文字列をn回くり返したもの
("ab", 2) -> "abab"
return {0} * {1}

is_leap_year(year)
whether a year is a leap year
うるう年かどうか
(2024,) -> True
return {0} % 4 == 0 and ({0} % 100 != 0 or {0} % 400 == 0)

sort_list(values)
a list in ascending order
昇順に並べたリスト
([3, 1, 2],) -> [1, 2, 3]
return sorted({0})
""")

WRITE = both(
    """
    [Write|Please write|Can you write|Give me|Show me|I need|Create|Make] a [Python|small Python|short Python|] function that returns {what}.
    [Write|Please write|Can you write|Give me|Show me|I need|Create|Define] a [Python|] function called {name} that returns {what}.
    [Write|Define|Create|Give me] {name} in Python: it [returns|should return] {what}.
    [How do I|How can I|How do you] [get|compute|return] {what} in Python?
    [Python|Python code|Code|Code in Python|A Python function]: {what}.
    [I want|I would like|I need] [code|Python code|a function] [for|that returns|which returns] {what}.
    [Please|Could you|Can you] [code|program|implement] a function [for|that returns] {what}[?|]
    [Implement|Program] {name} in Python, returning {what}.
    In Python, [write|define|show me] a function [that returns|for] {what}.
    I lack a Python function for {what}. [Write it|Please write it].
    My program needs a function that returns {what}.
    Use def to [return|get] {what}.
    Fill in a Python function for {what}.
    ~ My program lacks a function for {what}; fill it in with Python.
    ~ Using def, produce {what}.
    """,
    """
    {what}を[返す|求める|計算する]Pythonの関数を[書いてください|作ってください|教えてください|書いて|作って|見せてください|お願いします]。
    {what}を[返す|求める]関数{name}を[書いてください|作ってください|Pythonで書いてください|定義してください]。
    Pythonで{what}を[返す|求める|計算する]関数を[書いてください|作ってください|教えてください|お願いします]。
    Pythonで{what}を[求めるには|計算するには|得るには][どうしますか|どうすればいいですか|どう書きますか]?
    [Pythonのコード|コード|Pythonの関数]: {what}
    {what}を[返す|求める][コード|Pythonのコード]が[欲しいです|必要です|知りたいです]。
    関数{name}をPythonで[実装してください|書いてください]。{what}を返します。
    {what}を返す[もの|関数]をdefで[作って|書いて]ください。
    プログラムに{what}を返す関数が必要です。
    {what}を得る関数を[用意して|書いて]ください。
    ~ {what}を得るための関数をPythonで用意してもらえますか?
    ~ defを使って{what}を返すものを作りたいです。
    """,
)
EXPLAIN = both(
    """
    [What does|Tell me what] this [code|function|Python function] do[?|es.]\\n{code}
    [Explain|Please explain|Can you explain|Describe] this [code|function|Python code][.|:]\\n{code}
    [What is|Tell me] the purpose of this [code|function][?|:]\\n{code}
    [Here is|I found] [some code|a function]. What does it [do|return]?\\n{code}
    What happens here?\\n{code}
    Describe in words what this does:\\n{code}
    ~ Put into words what happens here:\\n{code}
    """,
    """
    この[コード|関数|Pythonの関数]は何を[しますか|していますか|返しますか]?\\n{code}
    [次の|この][コード|関数]を[説明してください|説明して|解説してください]。\\n{code}
    [次の|この][コード|関数]の[意味|働き]を教えてください。\\n{code}
    ここで何をしていますか?\\n{code}
    言葉で説明してください。\\n{code}
    ~ ここで何が起きているか言葉で説明してください。\\n{code}
    """,
)
PARAMETERS = {
    "a": ("a", "x", "m", "left", "first"),
    "b": ("b", "y", "n", "right", "second"),
    "n": ("n", "number", "k", "num"),
    "x": ("x", "number", "value", "n"),
    "c": ("c", "celsius", "degrees"),
    "r": ("r", "radius"),
    "values": ("values", "numbers", "items", "data"),
    "text": ("text", "string", "word", "line"),
    "item": ("wanted", "target"),
    "year": ("year", "y"),
}
PREFIXES = ("", "", "", "get_", "my_", "compute_", "find_", "do_", "calc_")


def render(task: Task, name: str, parameters: list[str], english: bool) -> str:
    """The function as source text, docstring in the language of the question."""
    doc = f'"""Return {task.en}."""' if english else f'"""{task.ja}を返す。"""'
    lines = [f"def {name}({', '.join(parameters)}):", f"    {doc}"]
    lines += ["    " + line.format(*parameters) for line in task.body]
    return "\n".join(lines)


def choose(s: Source, fresh: bool) -> tuple[Task, str, list[str]]:
    while True:
        task = s.pick(TASKS)
        name = s.pick(PREFIXES) + task.name
        parameters = [s.pick(PARAMETERS[p.strip()]) for p in task.parameters.split(",")]
        if len(set(parameters)) == len(parameters) and (not fresh or s.fits("code", name, *parameters)):
            return task, name, parameters


def _write(s: Source) -> Document:
    while True:
        task, name, _ = choose(s, fresh=False)
        if s.chance(0.5):
            name = task.name
        question = s.say(WRITE, what=task.en if s.english else task.ja, name=name)
        # Without a name in the question the function has its usual one.
        asked = f" {name} " in question or f"{name} in" in question or f"関数{name}" in question
        if not asked:
            name = task.name
        if name == task.name or s.fits("code name", name):
            break
    parameters = [p.strip() for p in task.parameters.split(",")]
    code = render(task, name, parameters, s.english)
    example = f"{name}{task.call}".replace(",)", ")")
    if s.english:
        tail = f"For example, {example} returns {task.result}." if s.chance(0.999) else ""
        answer = f"```python\n{code}\n```\n{tail}"
    else:
        answer = f"```python\n{code}\n```\n例えば、{example} は {task.result} を返します。"
    return ask("code", s, question, answer, kind="write", check=("python", f"{name}{task.call} == {task.result}"))


def _explain(s: Source) -> Document:
    task, name, parameters = choose(s, fresh=True)
    code = render(task, name, parameters, s.english).splitlines()
    code = [code[0], *code[2:]]  # without the docstring, which would give the answer away
    question = s.say(EXPLAIN, bare=True, code="@@").replace("\\n", "\n").replace("@@", "\n".join(code))
    listed = ", ".join(parameters) if s.english else "、".join(parameters)
    if s.english:
        answer = f"The function {name} takes {listed} and returns {task.en}."
    else:
        answer = f"関数{name}は{listed}を受け取り、{task.ja}を返します。"
    return ask("code", s, question, answer, kind="explain")


def build(s: Source) -> Document:
    return _write(s) if s.chance(0.75) else _explain(s)
