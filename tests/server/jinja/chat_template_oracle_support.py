"""Both sides of the comparison: jinja2 exactly as transformers sets it up, and the C++ interpreter in a child process."""

import datetime
import json
import os
import subprocess

import transformers.utils.chat_template_utils as chat_template_utils

NOW = 1_732_430_000  # 2024-11-24 06:33:20 UTC


def compile_like_transformers(template):
    compiled = chat_template_utils._compile_jinja_template(template)
    now = datetime.datetime.fromtimestamp(NOW, datetime.timezone.utc).replace(tzinfo=None)
    compiled.environment.globals["strftime_now"] = lambda format: now.strftime(format)
    return compiled


def render_with_transformers(template, messages, options):
    """The text of a conversation with the options of chat_template_oracle_conversations, or the exception."""
    try:
        compile_like_transformers(template)  # which transformers keeps
        text = chat_template_utils.render_jinja_template(
            [messages], chat_template=template, add_generation_prompt=options["add_generation_prompt"],
            continue_final_message=options.get("continue_last_message", False), **(options["special_tokens"] | options["extra"]))[0][0]
        text.encode("utf-8")
        return text
    except Exception as error:  # jinja2 lets any exception of Python through
        return error


def render_with_jinja2(template, variables):
    """The text, or the exception."""
    try:
        text = compile_like_transformers(template).render(**variables)
        text.encode("utf-8")
        return text
    except Exception as error:  # jinja2 lets any exception of Python through
        return error


class Interpreter:
    def __init__(self, binary):
        self.process = subprocess.Popen([binary], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        encoding="utf-8", env={**os.environ, "TZ": "UTC"})

    def _ask(self, request):
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the interpreter died on {request!r}")
        return json.loads(line)

    def render(self, template, variables):
        return self._ask({"template": template, "variables": variables, "now": NOW})

    def render_chat(self, template, messages, options):
        return self._ask({"template": template, "messages": messages, "options": options, "now": NOW})

    def close(self):
        self.process.stdin.close()
        return self.process.wait()


class Report:
    """Counts the comparisons and keeps the first differences."""

    def __init__(self):
        self.same_text = 0
        self.same_error = 0
        self.differences = []

    def compare(self, label, expected, reply):
        if isinstance(expected, Exception):
            if "error" in reply:
                self.same_error += 1
                return True
            self.differences.append(f"{label}\n  jinja2 raises {expected!r}\n  we render {reply['text']!r}")
        elif reply.get("text") == expected:
            self.same_text += 1
            return True
        else:
            self.differences.append(f"{label}\n  jinja2 renders {expected!r}\n  we give {reply!r}")
        return False

    def print(self, name):
        print(f"{name}: {self.same_text} equal texts, {self.same_error} errors on both sides, "
              f"{len(self.differences)} differences")
        for difference in self.differences[:40]:
            print("DIFFERENT", difference)
        return not self.differences
