"""Compares the chat templates of the server with jinja2, set up as transformers sets it up, byte for byte.

usage: chat_template_oracle.py BINARY TEMPLATE_FOLDER GGUF COLLECTED_FOLDER

COLLECTED_FOLDER, and those beside it that COLLECTED names, hold templates of models in circulation, which scripts/setup.sh gets where
SHIRA_TEST_MODELS is set.
"""

import json
import pathlib
import random
import sys

import gguf

import chat_template_oracle_snippets as snippets
from chat_template_oracle_conversations import conversations
from chat_template_oracle_expressions import random_templates
from chat_template_oracle_support import Interpreter, Report, render_with_jinja2, render_with_transformers

CONVERSATIONS = 150
CONVERSATIONS_OF_COLLECTED = 15
RANDOM_TEMPLATES = 2500


def check_snippets(interpreter):
    report = Report()
    templates = ["{{ " + expression + " }}" for expression in snippets.expressions()] + snippets.STATEMENTS
    for template in templates:
        report.compare(repr(template), render_with_jinja2(template, snippets.VARIABLES),
                       interpreter.render(template, snippets.VARIABLES))
    return report.print(f"{len(templates)} snippets")


def check_refusals(interpreter):
    good = True
    for code, templates in snippets.REFUSED.items():
        for template in templates:
            reply = interpreter.render(template, snippets.VARIABLES)
            if reply.get("code") != code or not reply["error"].startswith("line 1, column "):
                print(f"DIFFERENT {template!r}: expected a refusal with {code}, found {reply!r}")
                good = False
    return good


def check_random(interpreter):
    report = Report()
    for template in random_templates(random.Random(20241124), RANDOM_TEMPLATES):
        reply = interpreter.render(template, snippets.VARIABLES)
        if "64 bits" in reply.get("error", "") or reply.get("code") == "RESOURCE_EXHAUSTED":
            continue  # Python has no such bound
        if "slice" in reply.get("error", ""):
            continue  # jinja2 folds a slice of constants in another way than it runs a slice
        report.compare(repr(template), render_with_jinja2(template, snippets.VARIABLES), reply)
    good = report.print("random templates")
    if report.same_text < RANDOM_TEMPLATES // 4:
        print("too few of the random templates render: the comparison proves little")
        return False
    return good


def check_conversations(interpreter, name, template, count, least_rendered):
    report = Report()
    for messages, options in conversations(random.Random(f"conversations of {name}"), count):
        label = json.dumps([name, messages, options], ensure_ascii=False)
        report.compare(label, render_with_transformers(template, messages, options),
                       interpreter.render_chat(template, messages, options))
    good = report.print(name)
    if report.same_text < least_rendered:
        print(f"{name}: too few conversations render")
        return False
    return good


# A filter that neither jinja2 nor transformers has: they fail where it is reached, the server when it reads the template.
UNKNOWN_FILTER = "from_json"


# What is appended to the folder's name, and how many templates are there.
COLLECTED = {"": 70, "_trl": 70, "_axolotl": 35}


def check_collected(interpreter, folder, count):
    paths = sorted(folder.glob("*.jinja"))
    if not paths:
        print(f"SKIPPED: {folder} is missing: SHIRA_TEST_MODELS=1 scripts/setup.sh gets it")
        return True
    good = len(paths) >= count
    for path in paths:
        template = path.read_bytes().decode()
        if f"| {UNKNOWN_FILTER}" in template:
            error = interpreter.render_chat(template, [], {"add_generation_prompt": True, "special_tokens": {}, "extra": {}}).get("error", "")
            good = f"unknown filter '{UNKNOWN_FILTER}'" in error and good
        else:
            # Some refuse nearly all of them: roles that do not alternate, variables that are missing.
            good = check_conversations(interpreter, f"{folder.name}/{path.name}", template, CONVERSATIONS_OF_COLLECTED, 0) and good
    return good


# Templates that do something to the content that is continued, beside those of the golden folder.
CONTINUED = ["{% for m in messages %}<{{ m.content }}>{% endfor %}", "{% for m in messages %}<{{ m.content|trim }}>{% endfor %}x",
             "{{ messages[-1].content }} again {{ messages[-1].content }}!", "{{ messages[-1]['content'].split('</think>')[-1].lstrip('\n') }}|",
             "{{ messages[0].role }}", "{{ messages[-1].content|upper }}", "{{ messages[-1].content[:5] }}"]


def check_continuations(interpreter, templates):
    report = Report()
    for template in [*CONTINUED, *templates]:
        for messages, options in conversations(random.Random("continuations"), CONVERSATIONS // 5):
            options = {**options, "add_generation_prompt": False, "continue_last_message": True}
            report.compare(json.dumps([template, messages, options], ensure_ascii=False),
                           render_with_transformers(template, messages, options),
                           interpreter.render_chat(template, messages, options))
    good = report.print("continued messages")
    return good and report.same_text > 100 and report.same_error > 100


def template_of(gguf_path):
    field = gguf.GGUFReader(gguf_path).fields["tokenizer.chat_template"]
    return bytes(field.parts[field.data[0]]).decode()


def main(binary, folder, gguf_path, collected):
    interpreter = Interpreter(binary)
    paths = sorted(pathlib.Path(folder).glob("*.jinja"))
    templates = {path.name: path.read_bytes().decode() for path in paths}
    assert len(templates) >= 12, f"only {len(templates)} templates in {folder}"
    templates[pathlib.Path(gguf_path).name] = template_of(gguf_path)
    results = [check_snippets(interpreter), check_refusals(interpreter), check_random(interpreter)]
    results.append(check_continuations(interpreter, templates.values()))
    results += [check_conversations(interpreter, name, template, CONVERSATIONS, CONVERSATIONS // 5) for name, template in templates.items()]
    results += [check_collected(interpreter, pathlib.Path(collected + more), count) for more, count in COLLECTED.items()]
    if interpreter.close() != 0:
        print("the interpreter did not end well")
        results.append(False)
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
